"""Companies, their shares and their jobs."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.formulas import FormulaInputs, compute
from toolserver.world.operations.mutations import Sale, cancel, create
from toolserver.world.schema import Domain, EntityType, Slot
from toolserver.world.types import COUNT, DATE, FLAG, MONEY, PERCENT, YEAR, id_of

_SECTORS = ("chemicals", "energy", "finance", "media", "mining", "retail", "software", "transport")

COMPANY = EntityType(
    "company", "companies", "company", "CO", (60, 160, 420),
    (
        col.named("company", names.company, "name", "company", "company_name"),
        col.measure("employees", COUNT, col.skewed(20, 180_000), "number of employees", "headcount", "staff"),
        col.link("city"),
        col.measure("share_price", MONEY, col.prices(2, 640), "share price", "stock_price", "quote", volatile=True),
        col.choices("sector", _SECTORS, "sector", "industry"),
        col.plain("founded", YEAR, col.integers(1870, 2028), "year of foundation", "established", "since"),
        col.measure("dividend", PERCENT, col.numbers(0, 8, 1), "dividend yield", "dividend_yield", "payout",
                    volatile=True),
    ),
)  # fmt: skip
JOB = EntityType(
    "job", "jobs", "job", "J", (100, 260, 700),
    (
        col.named("job", names.job, "title", "position", "role"),
        col.measure("salary", MONEY, col.dollars(26_000, 190_000), "yearly salary", "pay",
                    "compensation"),
        col.link("company"),
        col.plain("deadline", DATE, col.days(2, 40), "application deadline", "apply_by", "closing_date"),
        col.measure("openings", COUNT, col.integers(1, 9), "number of openings", "vacancies", "positions",
                    volatile=True),
        col.plain("remote", FLAG, col.flags(0.35), "remote work", "work_from_home", "remote_ok"),
        col.choices("contract", ("full time", "internship", "part time", "temporary"), "kind of contract", "type"),
    ),
)  # fmt: skip
APPLICATION = EntityType(
    "application", "job applications", "job application", "JA", (40, 100, 240),
    (
        col.record("application", "applicant", "applicant_name", "candidate"),
        col.link("job"),
        col.status(),
        col.plain("filed", DATE, col.days(-20, 0), "filing date", "submitted", "applied_on"),
    ),
    digits=5, record=True,
)  # fmt: skip
_APPLY = Sale(JOB, APPLICATION, "", "applicant", once=True)
_COMPANY = Slot(id_of("company"), "id of the company", aka=("company", "ticker"))


def _position(given: FormulaInputs) -> dict[str, float]:
    return {"value": round(given.row("company", "company_id")["share_price"] * given.values["shares"], 2)}


def _income(given: FormulaInputs) -> dict[str, float]:
    row = given.row("company", "company_id")
    return {"income": round(row["share_price"] * given.values["shares"] * row["dividend"] / 100, 2)}


def _shares(many: str = "number of shares") -> Slot:
    return Slot(COUNT, many, aka=("quantity", "units"), low=1, high=1_000_000)


COMPANIES = Domain(
    "companies", "Business", (COMPANY, JOB, APPLICATION),
    (
        compute("company.position_value", {"company_id": _COMPANY, "shares": _shares()},
                {"value": (MONEY, "value of the shares")}, _position, "Value of a number of shares of a company",
                "position value", "portfolio value", "value of shares"),
        compute("company.dividend_income", {"company_id": _COMPANY, "shares": _shares()},
                {"income": (MONEY, "yearly dividend income")}, _income, "Yearly dividend of a number of shares",
                "dividend income", "yearly dividends", "estimate dividends"),
        create("job.apply", _APPLY, "Apply for a job", "apply for job", "submit application", "send application"),
        cancel("application.withdraw", _APPLY, "Withdraw a job application",
               "withdraw application", "cancel application", "retract application"),
    ),
    ("Corp", "Career", "Work", "Hire", "Firm", "Biz"),
)  # fmt: skip
