"""A straightforward implementation: Flask on waitress, ORM models, and a sum of Decimals for each request.

It checks no access token. It has as many processes, threads and database connections as the service.
"""

import logging
import multiprocessing
import signal
import socket
import sys
from datetime import date
from decimal import Decimal

import waitress
from flask import Flask, Response, abort, jsonify
from sqlalchemy import URL, ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from service.settings import Settings

BACKLOG = 1024  # the default of waitress


class Base(DeclarativeBase):
    """The tables that the service's migrations create."""


class Loan(Base):
    """A loan's terms."""

    __tablename__ = "loans"
    loan_id: Mapped[int] = mapped_column(primary_key=True)
    start_date: Mapped[date]
    initial_amt: Mapped[Decimal]
    currency: Mapped[str]
    version: Mapped[int]


class LoanEvent(Base):
    """A fee, interest or payment of a loan."""

    __tablename__ = "loan_events"
    loan_id: Mapped[int] = mapped_column(ForeignKey("loans.loan_id"), primary_key=True)
    tx_id: Mapped[int] = mapped_column(primary_key=True)
    event_type: Mapped[str]
    post_date: Mapped[date]
    amt: Mapped[Decimal]
    reverses: Mapped[int | None]


def serve(settings: Settings) -> None:
    """Serve until SIGTERM, with one process per worker and a shared socket."""
    spawn = multiprocessing.get_context("spawn")
    with socket.create_server((settings.server.listen_host, settings.server.port), backlog=BACKLOG) as listener:
        processes = [
            spawn.Process(target=_serve_worker, args=(settings, listener), daemon=True)
            for _ in range(settings.server.workers)
        ]
        for process in processes:
            process.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # daemon processes stop with this one
    for process in processes:
        process.join()


def _serve_worker(settings: Settings, listener: socket.socket) -> None:
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns about every request that waits for a thread
    waitress.serve(create_app(settings), sockets=[listener], threads=settings.server.threads)


def create_app(settings: Settings) -> Flask:
    """Create the application on the service's tables."""
    assert settings.postgres.password is not None
    url = URL.create(
        "postgresql+psycopg2", settings.postgres.user, settings.postgres.password.get_secret_value(),
        settings.postgres.hosts, settings.postgres.port, settings.postgres.database,
    )  # fmt: skip
    engine = create_engine(url, pool_size=settings.postgres.pool_size, max_overflow=0)
    app = Flask("plain")

    @app.get("/api/v1/loan/<int:loan_id>/<day>")
    def balance(loan_id: int, day: str) -> Response:
        until = date.fromisoformat(day)
        with Session(engine) as session:
            loan = session.get(Loan, loan_id) or abort(404)
            events = select(LoanEvent).where(LoanEvent.loan_id == loan_id, LoanEvent.post_date <= until)
            owed = Decimal(0)
            if loan.start_date <= until:
                owed = loan.initial_amt + sum(_signed(event) for event in session.scalars(events))
            return jsonify(
                loan_id=loan_id, date=day, balance=f"{owed:.2f}", currency=loan.currency, version=loan.version
            )

    return app


def _signed(event: LoanEvent) -> Decimal:
    return -event.amt if (event.event_type == "payment") != (event.reverses is not None) else event.amt
