"""Idioms: how people ask for what hand-written operations compute or change, and where things are.

`{input}` stands for an input, `{asked}` for the labels of what is asked. An operation without an idiom is described by
its own phrase and labels.
"""

from __future__ import annotations

PLACED_IN = frozenset({"city", "country", "warehouse", "clinic", "restaurant", "shop"})
"""Entity types that things are *in*; of all others they are *of*."""

COMPUTED = {
    "city.distance": "the distance from {origin_id} to {destination_id}",
    "travel.time": "the time it takes to cover {distance} at {speed}",
    "weather.on": "{asked} in {city_id} on {date}",
    "weather.warmest_day": "{asked} of the warmest day ahead in {city_id}",
    "weather.rainy_days": "the number of rainy days ahead in {city_id}",
    "train.reduced_fare": "the fare of {train_id} after a discount of {discount}",
    "currency.convert": "the value of {amount} in {currency_id}",
    "currency.to_usd": "the value in USD of {foreign_amount} units of {currency_id}",
    "bill.split": "{asked} for a bill of {amount} with a tip of {percent} shared by {people} people",
    "company.position_value": "the value of {shares} shares of {company_id}",
    "company.dividend_income": "the yearly dividend income from {shares} shares of {company_id}",
    "song.royalties": "the royalties that {song_id} has earned",
    "player.rate": "the points per match of {player_id} over {matches} matches",
    "ingredient.nutrition": "{asked} in {grams} of {ingredient_id}",
    "recipe.total_energy": "the energy of {portions} portions of {recipe_id}",
    "product.quote": "{asked} of {quantity} units of {product_id}",
    "calendar.weekday": "the day of the week of {date}",
    "event.countdown": "the number of days until {event_id}",
    "body.mass_index": "the body mass index for a weight of {weight} and a height of {height}",
    "carrier.quote": "the price of shipping {weight} over {distance} with {carrier_id}",
}
"""Operation -> noun phrase."""

ORDERED = {
    "flight.book": "book {flight_id} for {passenger}",
    "flight.rename": "put {ticket_id} in the name of {new_passenger}",
    "train.book": "book {train_id} for {traveller}",
    "hotel.book": "book {hotel_id} for {guest}, arriving on {date}",
    "reservation.move": "move {reservation_id} to {new_date}",
    "job.apply": "apply for {job_id} on behalf of {applicant}",
    "application.withdraw": "withdraw {application_id}",
    "film.rent": "rent {film_id} for {member}, starting on {date}",
    "artist.follow": "subscribe {fan} to {artist_id}",
    "follow.end": "end {follow_id}",
    "match.book": "buy tickets for {match_id} for {supporter}",
    "book.borrow": "borrow {book_id} for {reader} until {due}",
    "loan.return": "return {loan_id}",
    "loan.extend": "extend {loan_id} until {new_due}",
    "course.enrol": "enrol {student} in {course_id}",
    "restaurant.book": "make a reservation at {restaurant_id} for {diner} on {date}",
    "table_booking.move": "move {table_booking_id} to {new_date}",
    "product.order": "order {product_id} for {customer}, to be delivered to {deliver_to_id}",
    "order.redirect": "redirect {order_id} to {new_deliver_to_id}",
    "event.book": "buy tickets for {event_id} in the name of {visitor}",
    "doctor.book": "make an appointment with {doctor_id} for {patient} on {date}",
    "appointment.move": "move {appointment_id} to {new_date}",
    "carrier.ship": "send parcels with {carrier_id} for {sender} to {deliver_to_id}",
    "shipment.redirect": "redirect {shipment_id} to {new_deliver_to_id}",
}
"""Operation -> imperative; an operation that ends something is `cancel` unless it has its own."""

STATED = frozenset({"bill.split", "body.mass_index"})
"""Operations whose inputs the query states itself: a bill over somebody's salary is no question that people ask."""

OPTIONAL = {
    "days": " within the next {}",
    "discount": " with a discount of {}",
}
"""Optional input -> what it adds; counts add their unit: `, 3 rooms`."""
