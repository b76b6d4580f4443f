"""Registries of plug-ins: built-in ones by a short name, others by `module:factory`."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any, Generic, TypeVar

from steptool_env.errors import ConfigurationError

T = TypeVar("T")

_EXTRAS = {"jinja2": "report", "matplotlib": "report", "redis": "redis", "scipy": "report"}
_EXTRAS |= {"mcp": "mcp", "mcp_types": "mcp", "openenv": "openenv", "fastmcp": "openenv"}
_EXTRAS |= {"inspect_ai": "inspect", "mlflow": "mlflow", "trackio": "trackio", "wandb": "wandb"}
_AGENTS = (
    "accelerate",
    "peft",
    "safetensors",
    "sb3_contrib",
    "stable_baselines3",
    "tokenizers",
    "torch",
    "transformers",
)
_EXTRAS |= dict.fromkeys((*_AGENTS, "yaml"), "agents")
"""Extra that installs a package, by the name under which it is imported."""


def install_hint(module: str, extra: str | None = None) -> str:
    """Return the command that installs a missing module: as a part of `extra`, else of the extra that has it."""
    package = module.partition(".")[0]
    extra = "ray" if package == "ray" else extra or _EXTRAS.get(package)  # it has the packages of training, too
    return f"pip install 'steptool-env[{extra}]'" if extra else f"pip install {package}"


class Registry(Generic[T]):
    """Factories by name. A module is imported when its factory is used."""

    def __init__(self, kind: str, places: Mapping[str, str]) -> None:
        """`kind` names the plug-ins in error messages; `places` maps a name to `module:attribute`."""
        self.kind = kind
        self._places = dict(places)

    def names(self) -> list[str]:
        """Return the built-in names, sorted."""
        return sorted(self._places)

    def make(self, name: str, *arguments: Any, **options: Any) -> T:
        """Call the factory of `name`, a built-in name or `module:factory`.

        Raises:
            ConfigurationError: `name` is unknown, or its factory takes other arguments; the message lists them.
        """
        factory = self.factory(name)
        try:
            inspect.signature(factory).bind(*arguments, **options)
        except TypeError as error:
            signature = inspect.signature(factory)
            raise ConfigurationError(
                f"{self.kind} {name!r} takes {signature}, but the given arguments do not match: {error}"
            ) from None
        made: T = factory(*arguments, **options)
        return made

    def takes(self, name: str, option: str) -> bool:
        """Return True if the factory of `name` has a parameter `option`. Raises as `make` does for unknown names."""
        return option in inspect.signature(self.factory(name)).parameters

    def settings(self, name: str, **options: Any) -> dict[str, Any]:
        """Return the `options` of a `make` that succeeded, completed by defaults."""
        bound = inspect.signature(self.factory(name)).bind_partial(**options)
        bound.apply_defaults()
        rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        kinds = {key: parameter.kind for key, parameter in bound.signature.parameters.items()}
        named = {key: value for key, value in bound.arguments.items() if kinds[key] not in rest}
        return {**named, **{key: options[key] for key in options.keys() - named.keys()}}

    def factory(self, name: object) -> Any:
        """Return the factory of `name`. Raises `ConfigurationError` for one that is unknown or cannot be imported."""
        if not isinstance(name, str):
            listed = ", ".join(self.names())
            raise ConfigurationError(f"{self.kind}={name!r:.60}: must be one of {listed} or 'module:factory'")
        place = self._places.get(name, name)
        module, _, attribute = place.partition(":")
        if not (module and attribute):
            raise ConfigurationError(
                f"unknown {self.kind} {name!r}: give one of {', '.join(self.names())} or 'module:factory'"
            )
        try:
            return attrgetter(attribute)(import_module(module))
        except ModuleNotFoundError as error:
            hint = install_hint(error.name) if error.name and error.name not in place else "check the name"
            raise ConfigurationError(
                f"{self.kind} {name!r} cannot be loaded from {place!r}: {error}; {hint}"
            ) from error
        except (ImportError, AttributeError) as error:
            raise ConfigurationError(f"{self.kind} {name!r} cannot be loaded from {place!r}: {error}") from error
