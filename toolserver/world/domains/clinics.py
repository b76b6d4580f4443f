"""Clinics, doctors and appointments."""

from __future__ import annotations

from toolserver.world.generators import names
from toolserver.world.generators.columns import (
    choices,
    days,
    flags,
    integers,
    link,
    measure,
    named,
    numbers,
    plain,
    prices,
    record,
    status,
)
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType, SemanticType, Slot
from toolserver.world.types import COUNT, DATE, FACTOR, FLAG, HEIGHT, MASS, MONEY, RATING, YEAR

_FIELDS = ("cardiology", "dentistry", "dermatology", "neurology", "orthopedics", "pediatrics", "radiology")
_CENTIMETRES = SemanticType("body_height", HEIGHT.kind, unit="cm")

CLINIC = EntityType(
    "clinic", "clinics", "clinic", "CL", (36, 90, 220),
    (
        named("clinic", names.clinic, "name", "clinic", "facility"),
        measure("beds", COUNT, integers(4, 1200), "number of beds", "bed_count", "capacity"),
        link("city"),
        measure("wait", COUNT, integers(1, 60), "waiting time in days", "wait_days", "waiting_days", volatile=True),
        plain("emergency", FLAG, flags(0.5), "emergency room", "er", "has_emergency"),
        plain("opened", YEAR, integers(1900, 2029), "year of opening", "since", "established"),
    ),
)  # fmt: skip
DOCTOR = EntityType(
    "doctor", "doctors", "doctor", "DR", (96, 240, 600),
    (
        named("doctor", names.doctor, "name", "doctor", "physician"),
        measure("fee", MONEY, prices(30, 420), "consultation fee", "price", "consultation_fee", volatile=True),
        link("clinic"),
        measure("rating", RATING, numbers(2.0, 5.0, 1), "patient rating", "score", "stars", volatile=True),
        measure("slots_left", COUNT, integers(0, 9), "number of free appointments", "free_slots", "availability",
                volatile=True),
        choices("field", _FIELDS, "medical field", "specialty", "department", kind="medical_field"),
        plain("since", YEAR, integers(1985, 2029), "practising since", "licensed", "year_licensed"),
    ),
)  # fmt: skip
APPOINTMENT = EntityType(
    "appointment", "appointments", "appointment", "AM", (48, 120, 280),
    (
        record("appointment", "patient", "patient_name", "client"),
        link("doctor"),
        plain("date", DATE, days(1, 28), "date", "day", "appointment_date"),
        status(),
        plain("total", MONEY, prices(30, 420), "fee", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale("doctor", "appointment", "", "patient", stock="slots_left", price="fee", chosen=("date",))


def _bmi(given: FormulaInputs) -> dict[str, float]:
    metres = given.values["height"] / 100
    return {"bmi": round(given.values["weight"] / (metres * metres), 4)}


CLINICS = Domain(
    "clinics", "Medical", (CLINIC, DOCTOR, APPOINTMENT),
    (
        create("doctor.book", _SALE, DOCTOR, APPOINTMENT, "Book an appointment with a doctor",
               "book appointment", "schedule visit", "create appointment", domain="clinics"),
        cancel("appointment.cancel", _SALE, DOCTOR, APPOINTMENT, "Cancel an appointment",
               "cancel appointment", "delete appointment", "call off visit", domain="clinics"),
        update("appointment.move", APPOINTMENT, "date", "Move an appointment to another date",
               "reschedule appointment", "move visit", "change appointment date", domain="clinics"),
        compute("body.mass_index",
                {"weight": Slot(MASS, "body weight", aka=("mass", "body_weight"), low=2, high=600),
                 "height": Slot(_CENTIMETRES, "body height", aka=("size", "body_height"), low=40, high=260)},
                {"bmi": (FACTOR, "body mass index")}, _bmi, "Body mass index from weight and height",
                "body mass index", "calculate bmi", "bmi", domain="clinics"),
    ),
    ("Clinic", "Care", "Medi", "Health", "Doctor", "Cure"),
)  # fmt: skip
