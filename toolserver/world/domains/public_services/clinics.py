"""Clinics, doctors and appointments."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType, SemanticType, Slot
from toolserver.world.types import COUNT, DATE, FACTOR, FLAG, HEIGHT, MASS, MONEY, RATING, YEAR

_FIELDS = ("cardiology", "dentistry", "dermatology", "neurology", "orthopedics", "pediatrics", "radiology")
_CENTIMETRES = SemanticType("body_height", HEIGHT.kind, unit="cm")

CLINIC = EntityType(
    "clinic", "clinics", "clinic", "CL", (36, 90, 220),
    (
        col.named("clinic", names.clinic, "name", "clinic", "facility"),
        col.measure("beds", COUNT, col.integers(4, 1200), "number of beds", "bed_count", "capacity"),
        col.link("city"),
        col.measure("wait", COUNT, col.integers(1, 60), "waiting time in days", "wait_days", "waiting_days",
                    volatile=True),
        col.plain("emergency", FLAG, col.flags(0.5), "emergency room", "er", "has_emergency"),
        col.plain("opened", YEAR, col.integers(1900, 2029), "year of opening", "since", "established"),
    ),
)  # fmt: skip
DOCTOR = EntityType(
    "doctor", "doctors", "doctor", "DR", (96, 240, 600),
    (
        col.named("doctor", names.doctor, "name", "doctor", "physician"),
        col.measure("fee", MONEY, col.prices(30, 420), "consultation fee", "price", "consultation_fee", volatile=True),
        col.link("clinic"),
        col.measure("rating", RATING, col.numbers(2.0, 5.0, 1), "patient rating", "score", "stars", volatile=True),
        col.measure("slots_left", COUNT, col.integers(0, 9), "number of free appointments", "free_slots",
                    "availability", volatile=True),
        col.choices("field", _FIELDS, "medical field", "specialty", "department", kind="medical_field"),
        col.plain("since", YEAR, col.integers(1985, 2029), "practising since", "licensed", "year_licensed"),
    ),
)  # fmt: skip
APPOINTMENT = EntityType(
    "appointment", "appointments", "appointment", "AM", (48, 120, 280),
    (
        col.record("appointment", "patient", "patient_name", "client"),
        col.link("doctor"),
        col.plain("date", DATE, col.days(1, 28), "date", "day", "appointment_date"),
        col.status(),
        col.plain("total", MONEY, col.prices(30, 420), "fee", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_SALE = Sale(DOCTOR, APPOINTMENT, "", "patient", stock="slots_left", price="fee", chosen=("date",))


def _bmi(given: FormulaInputs) -> dict[str, float]:
    metres = given.values["height"] / 100
    return {"bmi": round(given.values["weight"] / (metres * metres), 4)}


CLINICS = Domain(
    "clinics", "Medical", (CLINIC, DOCTOR, APPOINTMENT),
    (
        create("doctor.book", _SALE, "Book an appointment with a doctor",
               "book appointment", "schedule visit", "create appointment"),
        cancel("appointment.cancel", _SALE, "Cancel an appointment",
               "cancel appointment", "delete appointment", "call off visit"),
        update("appointment.move", APPOINTMENT, "date", "Move an appointment to another date",
               "reschedule appointment", "move visit", "change appointment date"),
        compute("body.mass_index",
                {"weight": Slot(MASS, "body weight", aka=("mass", "body_weight"), low=2, high=600),
                 "height": Slot(_CENTIMETRES, "body height", aka=("size", "body_height"), low=40, high=260)},
                {"bmi": (FACTOR, "body mass index")}, _bmi, "Body mass index from weight and height",
                "body mass index", "calculate bmi", "bmi"),
    ),
    ("Clinic", "Care", "Medi", "Health", "Doctor", "Cure"),
)  # fmt: skip
