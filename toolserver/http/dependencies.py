"""What routes are given."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from toolserver.catalog.catalog import Catalog
from toolserver.http.admission import Admission
from toolserver.http.executor import Dispatcher
from toolserver.http.metrics import Meter
from toolserver.service.factory import Assembly
from toolserver.service.info import InfoSource
from toolserver.settings import Settings


def _dispatcher(request: Request) -> Dispatcher:
    dispatcher: Dispatcher = request.app.state.dispatcher
    return dispatcher


def _assembly(request: Request) -> Assembly:
    assembly: Assembly = request.app.state.assembly
    return assembly


def _catalog(request: Request) -> Catalog:
    return _assembly(request).catalog


def _meter(request: Request) -> Meter:
    meter: Meter = request.app.state.meter
    return meter


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _info(request: Request) -> InfoSource:
    info: InfoSource = request.app.state.info
    return info


def _admission(request: Request) -> Admission:
    admission: Admission = request.app.state.admission
    return admission


def _caller(request: Request) -> int:
    caller: int = request.scope.get("toolserver.caller", 0)
    return caller


DispatcherDep = Annotated[Dispatcher, Depends(_dispatcher)]
AssemblyDep = Annotated[Assembly, Depends(_assembly)]
CatalogDep = Annotated[Catalog, Depends(_catalog)]
MeterDep = Annotated[Meter, Depends(_meter)]
SettingsDep = Annotated[Settings, Depends(_settings)]
InfoDep = Annotated[InfoSource, Depends(_info)]
AdmissionDep = Annotated[Admission, Depends(_admission)]
CallerDep = Annotated[int, Depends(_caller)]
