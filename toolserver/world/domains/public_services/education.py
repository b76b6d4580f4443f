"""Books and courses: authors, books, loans, schools, courses and enrolments."""

from toolserver.world.generators import columns as col
from toolserver.world.generators import names
from toolserver.world.operations.mutations import Sale, cancel, create, update
from toolserver.world.schema import Domain, EntityType
from toolserver.world.types import COUNT, DATE, DAYS, MONEY, RATING, YEAR

_SUBJECTS = ("biography", "crime", "history", "poetry", "romance", "science", "travel")

AUTHOR = EntityType(
    "author", "authors", "author", "AU", (36, 90, 220),
    (
        col.named("author", names.person, "name", "author", "writer"),
        col.measure("prizes", COUNT, col.integers(0, 18), "number of prizes", "awards", "prize_count"),
        col.link("country"),
        col.plain("born", YEAR, col.integers(1900, 2003), "year of birth", "birth_year", "year_born"),
    ),
)  # fmt: skip
BOOK = EntityType(
    "book", "books", "book", "B", (108, 280, 720),
    (
        col.named("book", names.title, "title", "book", "book_title"),
        col.measure("pages", COUNT, col.integers(64, 980), "number of pages", "page_count", "length"),
        col.link("author"),
        col.plain("year", YEAR, col.integers(1925, 2031), "year of publication", "published", "publication_year"),
        col.choices("subject", _SUBJECTS, "subject", "genre", kind="book_subject"),
        col.measure("price", MONEY, col.prices(4, 75), "price", "cost", "retail_price", volatile=True),
        col.measure("copies_left", COUNT, col.integers(0, 12), "copies on the shelf", "available_copies", "in_stock",
                    volatile=True),
    ),
)  # fmt: skip
LOAN = EntityType(
    "loan", "book loans", "book loan", "LO", (40, 100, 240),
    (
        col.record("loan", "reader", "reader_name", "borrower"),
        col.link("book"),
        col.plain("due", DATE, col.days(1, 28), "due date", "due_date", "return_by"),
        col.status(),
    ),
    digits=5, record=True,
)  # fmt: skip
SCHOOL = EntityType(
    "school", "schools", "school", "SC", (24, 60, 150),
    (
        col.named("school", names.school, "name", "school", "institution"),
        col.measure("students", COUNT, col.integers(300, 48_000), "number of students", "enrolment", "student_count"),
        col.link("city"),
        col.measure("tuition", MONEY, col.prices(900, 42_000), "yearly tuition", "fees", "tuition_fee"),
        col.plain("founded", YEAR, col.integers(1180, 2015), "year of foundation", "established", "since"),
    ),
)  # fmt: skip
COURSE = EntityType(
    "course", "courses", "course", "CS", (84, 200, 480),
    (
        col.named("course", names.course, "title", "course", "course_name"),
        col.measure("fee", MONEY, col.prices(20, 2400), "fee", "price", "cost", volatile=True),
        col.link("school"),
        col.plain("starts", DATE, col.days(2, 30), "start date", "start_date", "begins"),
        col.measure("places_left", COUNT, col.integers(0, 25), "number of free places", "seats", "open_places",
                    volatile=True),
        col.plain("length", DAYS, col.integers(2, 120), "length in days", "duration", "days"),
        col.choices("mode", ("evening", "online", "weekday", "weekend"), "mode", "format", kind="course_mode"),
        col.measure("rating", RATING, col.numbers(2.0, 5.0, 1), "rating", "score", "stars", volatile=True),
    ),
)  # fmt: skip
ENROLMENT = EntityType(
    "enrolment", "enrolments", "enrolment", "EN", (40, 100, 240),
    (
        col.record("enrolment", "student", "student_name", "learner"),
        col.link("course"),
        col.status(),
        col.plain("total", MONEY, col.prices(20, 2400), "fee", "amount", "cost"),
    ),
    digits=5, record=True,
)  # fmt: skip
_LOAN = Sale(BOOK, LOAN, "", "reader", stock="copies_left", chosen=("due",))
_ENROL = Sale(COURSE, ENROLMENT, "", "student", stock="places_left", price="fee", once=True)

EDUCATION = Domain(
    "education", "Education", (AUTHOR, BOOK, LOAN, SCHOOL, COURSE, ENROLMENT),
    (
        create("book.borrow", _LOAN, "Borrow a book until a date", "borrow book", "check out book", "lend book"),
        cancel("loan.return", _LOAN, "Return a borrowed book", "return book", "end loan", "check in book"),
        update("loan.extend", LOAN, "due", "Set a new due date for a book loan",
               "extend loan", "renew book", "change due date"),
        create("course.enrol", _ENROL, "Enrol a student in a course",
               "enrol in course", "join course", "register for course"),
        cancel("enrolment.cancel", _ENROL, "Cancel an enrolment", "leave course", "cancel enrolment", "drop course"),
    ),
    ("Learn", "Study", "Library", "Campus", "Page", "Academy"),
)  # fmt: skip
