"""What routes are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from toolserver.catalog.catalog import Catalog
from toolserver.http.admission import AccessControl
from toolserver.http.executor import CallExecutor
from toolserver.http.metrics import Metrics
from toolserver.service.factory import Assembly
from toolserver.service.info import InfoSource
from toolserver.settings import Settings


def _dispatcher(request: Request) -> CallExecutor:
    dispatcher: CallExecutor = request.app.state.dispatcher
    return dispatcher


def _assembly(request: Request) -> Assembly:
    assembly: Assembly = request.app.state.assembly
    return assembly


def _catalog(request: Request) -> Catalog:
    return _assembly(request).catalog


def _meter(request: Request) -> Metrics:
    meter: Metrics = request.app.state.meter
    return meter


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _info(request: Request) -> InfoSource:
    info: InfoSource = request.app.state.info
    return info


def _admission(request: Request) -> AccessControl:
    admission: AccessControl = request.app.state.admission
    return admission


def _caller(request: Request) -> int:
    caller: int = request.scope.get("toolserver.caller", 0)
    return caller


DispatcherDep = Annotated[CallExecutor, Depends(_dispatcher)]
AssemblyDep = Annotated[Assembly, Depends(_assembly)]
CatalogDep = Annotated[Catalog, Depends(_catalog)]
MeterDep = Annotated[Metrics, Depends(_meter)]
SettingsDep = Annotated[Settings, Depends(_settings)]
InfoDep = Annotated[InfoSource, Depends(_info)]
AdmissionDep = Annotated[AccessControl, Depends(_admission)]
CallerDep = Annotated[int, Depends(_caller)]
