"""Templates for the world's tables and hand-written operations: relations, measures, nouns and imperatives.

`{input}` is an input of an operation, `{asked}` the asked outputs. `[...]` are words for an optional input, left out if
it is not given; `[...|...]` has the words for both cases. A test parses the queries with the same templates.
"""

from collections.abc import Mapping
from typing import NamedTuple

PEOPLE = frozenset({"director", "actor", "author", "player", "artist", "doctor"})
"""Entity types whose rows are persons."""

PLACES = frozenset({"city", "country"})
"""Entity types that `there` can refer to."""

CODED = frozenset({"flight", "train", "match", "parcel"})
"""Entity types with a code instead of a name."""

_SCOPED = {
    "using {}": "country.currency_id",
    "in {}": """
        city.country_id landmark.city_id weather_station.city_id airport.city_id rail_station.city_id
        hotel.city_id league.country_id team.league_id school.city_id enrolment.course_id restaurant.city_id
        shop.city_id venue.city_id clinic.city_id depot.city_id
    """,
    "for {}": """
        warning.city_id ticket.flight_id rail_ticket.train_id application.job_id match_ticket.match_id
        order.product_id event_ticket.event_id
    """,
    "from {}": """
        airline.country_id flight.origin_id train.origin_id director.country_id artist.hometown_id
        author.country_id carrier.country_id
    """,
    "to {}": "flight.destination_id train.destination_id follow.artist_id",
    "operated by {}": "flight.airline_id",
    "at {}": """
        reservation.hotel_id job.company_id course.school_id table_booking.restaurant_id event.venue_id
        doctor.clinic_id
    """,
    "based in {}": "company.city_id team.home_id",
    "born in {}": "actor.birthplace_id",
    "directed by {}": "film.director_id",
    "starring {}": "film.star_id",
    "of {}": "rental.film_id loan.book_id",
    "by {}": "album.artist_id book.author_id",
    "on {}": "song.album_id",
    "playing for {}": "player.team_id",
    "hosted by {}": "match.home_team_id",
    "with {} as the away team": "match.away_team_id",
    "based on {}": "recipe.main_id",
    "sold by {}": "product.shop_id",
    "going to {}": "order.deliver_to_id shipment.deliver_to_id",
    "with {}": "appointment.doctor_id",
    "run by {}": "depot.carrier_id",
    "currently at {}": "parcel.depot_id",
    "bound for {}": "parcel.destination_id",
    "sent with {}": "shipment.carrier_id",
}
"""Words that restrict a list to the rows with a reference -> the references that take them."""

SCOPES: Mapping[str, str] = {
    reference: words for words, references in _SCOPED.items() for reference in references.split()
}
"""Reference -> words that restrict a list to the rows with this reference."""


class Measure(NamedTuple):
    """Words for a measure.

    Attributes:
        most: Words after `with` and `has` for the first row of a ranking.
        least: Words for the last row.
        more: Words for the first of two rows.
        adjectives: Adjectives for the first row, the last row and the first of two; may be empty.
    """

    most: str
    least: str
    more: str
    adjectives: tuple[str, str, str] | tuple[()] = ()


def counted(things: str, *adjectives: str) -> Measure:
    """Return the words of a number: `the most pages`."""
    return Measure(f"the most {things}", f"the fewest {things}", f"more {things}", adjectives)  # type: ignore[arg-type]


def graded(thing: str, *adjectives: str, by: tuple[str, str, str] = ("highest", "lowest", "higher")) -> Measure:
    """Return the words of a quantity: `the highest fare`."""
    most, least, more = by
    return Measure(f"the {most} {thing}", f"the {least} {thing}", f"the {more} {thing}", adjectives)  # type: ignore[arg-type]


_SIZED = ("largest", "smallest", "larger")
_LONG = ("longest", "shortest", "longer")
_DEAR = ("most expensive", "cheapest", "more expensive")
_RATED = ("highest-rated", "lowest-rated", "higher-rated")
_HEAVY = ("heaviest", "lightest", "heavier")

MEASURES: Mapping[str, Measure] = {
    "country.area": graded("area", *_SIZED, by=_SIZED),
    "country.inhabitants": counted("inhabitants", "most populous", "least populous", "more populous"),
    "city.population": graded("population", by=_SIZED),
    "landmark.height": graded("height", "tallest", "shortest", "taller", by=("greatest", "smallest", "greater")),
    "weather_station.record_high": graded("record high"),
    "weather_station.annual_rain": Measure("the most rain per year", "the least rain per year", "more rain per year"),
    "airline.fleet": graded("fleet", by=_SIZED),
    "airport.passengers": counted("passengers per year", "busiest", "quietest", "busier"),
    "flight.price": graded("fare", *_DEAR),
    "flight.duration": graded("duration", *_LONG, by=_LONG),
    "rail_station.riders": counted("passengers per day", "busiest", "quietest", "busier"),
    "train.price": graded("fare", *_DEAR),
    "train.duration": graded("journey time", by=_LONG),
    "hotel.price": graded("price per night", *_DEAR),
    "hotel.rating": graded("guest rating", *_RATED),
    "job.salary": graded("yearly salary", "best-paid", "worst-paid", "better-paid"),
    "film.rating": graded("rating", *_RATED),
    "film.runtime": graded("runtime", *_LONG, by=_LONG),
    "film.gross": graded("box office takings"),
    "artist.listeners": counted("monthly listeners"),
    "album.sales": counted("copies sold"),
    "album.price": graded("price", *_DEAR),
    "song.tempo": graded("tempo", "fastest", "slowest", "faster", by=("fastest", "slowest", "faster")),
    "league.prize": Measure("the most prize money", "the least prize money", "more prize money"),
    "team.points": counted("points this season"),
    "team.titles": counted("titles"),
    "player.points": counted("points this season"),
    "player.wage": graded("weekly wage", "best-paid", "worst-paid", "better-paid"),
    "player.form": graded("form rating", by=("best", "worst", "better")),
    "book.pages": counted("pages", *_LONG),
    "book.price": graded("price", *_DEAR),
    "book.copies_left": counted("copies on the shelf"),
    "course.fee": graded("fee", *_DEAR),
    "course.rating": graded("rating", *_RATED),
    "ingredient.energy": Measure("the most energy per 100 g", "the least energy per 100 g", "more energy per 100 g"),
    "ingredient.protein": Measure(
        "the most protein per 100 g", "the least protein per 100 g", "more protein per 100 g"
    ),
    "recipe.minutes": graded("cooking time", by=_LONG),
    "recipe.energy": Measure("the most energy per serving", "the least energy per serving", "more energy per serving"),
    "restaurant.rating": graded("rating", *_RATED),
    "shop.rating": graded("customer rating", *_RATED),
    "product.price": graded("price", *_DEAR),
    "product.stock": counted("units in stock"),
    "product.weight": graded("weight", *_HEAVY),
    "product.rating": graded("customer rating", *_RATED),
    "venue.capacity": graded("capacity", by=_SIZED),
    "event.visitors": counted("expected visitors"),
    "clinic.wait": graded("waiting time", by=_LONG),
    "doctor.rating": graded("patient rating", *_RATED),
    "carrier.rating": graded("rating", *_RATED),
    "depot.throughput": counted("parcels per day", "busiest", "quietest", "busier"),
    "depot.area": graded("floor area", by=_SIZED),
    "parcel.weight": graded("weight", *_HEAVY),
}
"""Measure -> its superlatives. Default: `most X` for a `number of X`, else `highest X`."""

LABELS: Mapping[str, str] = {
    "airport.passengers": "number of passengers per year",
    "rail_station.riders": "number of passengers per day",
    "artist.listeners": "number of monthly listeners",
    "album.sales": "number of sold copies",
    "team.points": "number of season points",
    "team.titles": "number of titles",
    "player.points": "number of season points",
    "book.copies_left": "number of copies on the shelf",
    "restaurant.price": "average meal price",
    "product.stock": "number of units in stock",
    "event.visitors": "number of expected visitors",
    "event.tickets_left": "number of remaining tickets",
    "depot.throughput": "number of parcels per day",
    "film.gross": "box office takings",
    "doctor.since": "first year in practice",
    "film.year": "year of release",
    "weather_station.record_high": "record high",
    "weather_station.annual_rain": "amount of rain per year",
    "carrier.on_time": "share of parcels delivered on time",
    "artist.active_since": "first active year",
    "warning.until": "end date",
    "reservation.rooms": "number of booked rooms",
    "ticket.seats": "number of booked seats",
    "rail_ticket.seats": "number of booked seats",
    "match_ticket.seats": "number of booked seats",
    "table_booking.tables": "number of booked tables",
    "order.quantity": "quantity",
    "event_ticket.tickets": "number of tickets",
}
"""Attribute -> its noun, if its label does not fit into a sentence."""

WHETHER: Mapping[str, str] = {
    "rail_station.accessible": "has step-free access",
    "hotel.pets_allowed": "allows pets",
    "job.remote": "allows remote work",
    "song.explicit": "has explicit lyrics",
    "ingredient.allergen": "is an allergen",
    "clinic.emergency": "has an emergency room",
}
"""Boolean attribute -> its meaning if true."""

KINDS: Mapping[str, str] = {"landmark.kind": "whose kind is {}", "event.kind": "whose kind is {}"}
"""Attribute -> words that restrict a list by it. Default: `whose X is`."""

COMPUTED: Mapping[str, tuple[str, ...]] = {
    "city.distance": (
        "the distance from {origin_id} to {destination_id}",
        "the distance between {origin_id} and {destination_id}",
    ),
    "travel.time": ("the time it takes to cover {distance} at {speed}", "the travel time for {distance} at {speed}"),
    "weather.on": ("{asked} in {city_id} on {date}", "{asked} on {date} in {city_id}"),
    "weather.warmest_day": (
        "{asked} of the warmest day in {city_id}[ within the next {days}]",
        "{asked} of the warmest day ahead in {city_id}[ in the coming {days}]",
    ),
    "weather.rainy_days": (
        "the number of rainy days ahead in {city_id}[ within the next {days}]",
        "the number of rainy days in {city_id}[ over the next {days}]",
    ),
    "train.reduced_fare": (
        "the fare of {train_id} after a discount of {discount}",
        "the reduced fare of {train_id} with {discount} off",
    ),
    "currency.convert": ("the value of {amount} in {currency_id}", "the equivalent of {amount} in {currency_id}"),
    "currency.to_usd": (
        "the value in USD of {foreign_amount} units of {currency_id}",
        "the USD equivalent of {foreign_amount} units of {currency_id}",
    ),
    "bill.split": (
        "{asked} for a bill of {amount} with a tip of {percent} shared by {people} people",
        "{asked} when {people} people share a bill of {amount} and tip {percent}",
    ),
    "company.position_value": (
        "the value of {shares} shares of {company_id}",
        "the current value of {shares} shares of {company_id}",
    ),
    "company.dividend_income": (
        "the yearly dividend income from {shares} shares of {company_id}",
        "the dividends that {shares} shares of {company_id} pay per year",
    ),
    "song.royalties": ("the royalties that {song_id} has earned", "the royalties earned by {song_id}"),
    "player.rate": (
        "the points per match of {player_id} over {matches} matches",
        "the average points per match of {player_id} after {matches} matches",
    ),
    "ingredient.nutrition": (
        "{asked} in {grams} of {ingredient_id}",
        "{asked} contained in {grams} of {ingredient_id}",
    ),
    "recipe.total_energy": (
        "the energy of {portions} portions of {recipe_id}",
        "the total energy in {portions} portions of {recipe_id}",
    ),
    "product.quote": (
        "{asked} of {quantity} units of {product_id}[ with a discount of {discount}]",
        "{asked} for {quantity} units of {product_id}[ at a discount of {discount}]",
    ),
    "calendar.weekday": ("the day of the week of {date}", "the weekday that {date} falls on"),
    "event.countdown": ("the number of days until {event_id}", "the number of days left before {event_id}"),
    "body.mass_index": (
        "the body mass index for a weight of {weight} and a height of {height}",
        "the body mass index of somebody who weighs {weight} and is {height} tall",
    ),
    "carrier.quote": (
        "the price of shipping {weight} over {distance} with {carrier_id}",
        "the cost of sending {weight} over {distance} with {carrier_id}",
    ),
}
"""Operation -> noun phrases."""

OUTPUTS: Mapping[str, str] = {
    "ingredient.nutrition.energy": "energy",
    "ingredient.nutrition.protein": "protein",
    "bill.split.sum": "total with tip",
    "bill.split.share": "share of each person",
}
"""Output of a computation -> its noun, if its label does not fit."""

ORDERED: Mapping[str, tuple[str, ...]] = {
    "flight.book": (
        "book[ {seats} seats| a seat] on {flight_id} for {passenger}",
        "reserve[ {seats} seats| a seat] on {flight_id} for {passenger}",
    ),
    "flight.rename": (
        "transfer {ticket_id} to {new_passenger}",
        "change the passenger on {ticket_id} to {new_passenger}",
    ),
    "train.book": (
        "book[ {seats} seats| a seat] on {train_id} for {traveller}",
        "reserve[ {seats} seats| a seat] on {train_id} for {traveller}",
    ),
    "hotel.book": (
        "book[ {rooms} rooms| a room] at {hotel_id} for {guest}, arriving on {date}",
        "reserve[ {rooms} rooms| a room] at {hotel_id} for {guest} from {date} on",
    ),
    "reservation.move": (
        "move {reservation_id} to {new_date}",
        "change the arrival date of {reservation_id} to {new_date}",
    ),
    "job.apply": ("apply for {job_id} on behalf of {applicant}", "submit an application by {applicant} for {job_id}"),
    "application.withdraw": ("withdraw {application_id}", "have {application_id} withdrawn"),
    "film.rent": ("rent {film_id} for {member}, starting on {date}", "rent {film_id} for {member} from {date} on"),
    "artist.follow": ("subscribe {fan} to {artist_id}", "sign {fan} up for {artist_id}"),
    "follow.end": ("end {follow_id}", "terminate {follow_id}"),
    "match.book": (
        "buy[ {seats} tickets| a ticket] for {match_id} for {supporter}",
        "get {supporter}[ {seats} tickets| a ticket] for {match_id}",
    ),
    "book.borrow": ("borrow {book_id} for {reader} until {due}", "check out {book_id} for {reader} until {due}"),
    "loan.return": ("mark {loan_id} as returned", "record {loan_id} as returned"),
    "loan.extend": ("extend {loan_id} until {new_due}", "renew {loan_id} until {new_due}"),
    "course.enrol": ("enrol {student} in {course_id}", "sign {student} up for {course_id}"),
    "restaurant.book": (
        "book[ {tables} tables| a table] at {restaurant_id} for {diner} on {date}",
        "reserve[ {tables} tables| a table] at {restaurant_id} for {diner} on {date}",
    ),
    "table_booking.move": (
        "move {table_booking_id} to {new_date}",
        "change the date of {table_booking_id} to {new_date}",
    ),
    "product.order": (
        "order[ {quantity} units of] {product_id} for {customer}, to be delivered to {deliver_to_id}",
        "order[ {quantity} units of] {product_id} for {customer} with delivery to {deliver_to_id}",
    ),
    "order.redirect": (
        "redirect {order_id} to {new_deliver_to_id}",
        "have {order_id} delivered to {new_deliver_to_id}",
    ),
    "event.book": (
        "buy {visitor}[ {tickets} tickets| a ticket] for {event_id}",
        "get {visitor}[ {tickets} tickets| a ticket] for {event_id}",
    ),
    "doctor.book": (
        "make an appointment with {doctor_id} for {patient} on {date}",
        "book {patient} an appointment with {doctor_id} on {date}",
    ),
    "appointment.move": ("move {appointment_id} to {new_date}", "change the date of {appointment_id} to {new_date}"),
    "carrier.ship": (
        "send[ {parcels} parcels| a parcel] with {carrier_id} for {sender} to {deliver_to_id}",
        "ship[ {parcels} parcels| a parcel] for {sender} to {deliver_to_id} with {carrier_id}",
    ),
    "shipment.redirect": (
        "redirect {shipment_id} to {new_deliver_to_id}",
        "have {shipment_id} delivered to {new_deliver_to_id}",
    ),
}
"""Operation -> imperatives. Default for cancelling operations: `CANCELLED`."""

CANCELLED = ("cancel {}", "have {} cancelled")

NOUNS: Mapping[str, tuple[str, str]] = {"loan": ("loan", "loans"), "reservation": ("reservation", "reservations")}
"""Entity type -> its noun and plural, if its label does not fit into a sentence."""

UNITS: Mapping[str, str] = {"min": " minutes", "C": " °C", "%": "%"}
"""Unit -> text after the number. Default: a space and the unit."""

HANDLES: Mapping[str, str] = {
    "money": "amount",
    "distance": "distance",
    "mass": "weight",
    "grams": "amount",
    "date": "date",
    "energy": "energy",
    "minutes": "time",
    "days": "number of days",
}
"""Semantic type -> noun that refers to an introduced value."""
