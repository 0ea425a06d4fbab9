"""The obvious Python service, to compare with: aiohttp, SQLAlchemy's async session, a transaction a request.

Written as most would write it, with nothing left out that a request needs and nothing added: the row locked,
the balance looked at, both written, committed.  On the tables of pgbench, which are like the service's.
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import uvloop
from aiohttp import web
from sqlalchemy import JSON, Numeric, Text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CONNECTIONS = 16


class Base(DeclarativeBase):
    """Of the tables."""


class Balance(Base):
    """A person's credits."""

    __tablename__ = "balances"
    __table_args__ = {"schema": "bench"}  # noqa: RUF012
    user_id: Mapped[str] = mapped_column(Text, primary_key=True)
    balance: Mapped[Decimal] = mapped_column(Numeric(18, 3))
    total_spent: Mapped[Decimal] = mapped_column(Numeric(18, 3))
    version: Mapped[int]


class Entry(Base):
    """One change of them."""

    __tablename__ = "transactions"
    __table_args__ = {"schema": "bench"}  # noqa: RUF012
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    user_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    amount: Mapped[Decimal] = mapped_column(Numeric(18, 3))
    balance_before: Mapped[Decimal] = mapped_column(Numeric(18, 3))
    balance_after: Mapped[Decimal] = mapped_column(Numeric(18, 3))
    app_id: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON)
    idempotency_key: Mapped[str | None] = mapped_column(Text)


class Use(msgspec.Struct, rename="camel"):
    """The body of a deduction."""

    user_id: str
    amount: Decimal
    app_id: str
    description: str
    idempotency_key: str | None = None
    metadata: dict[str, Any] | None = None


sessions_key = web.AppKey("sessions", async_sessionmaker[AsyncSession])


async def use(request: web.Request) -> web.Response:
    """Spend."""
    body = msgspec.json.decode(await request.read(), type=Use)
    async with request.app[sessions_key]() as session, session.begin():
        balance = await session.get(Balance, body.user_id, with_for_update=True)
        if balance is None:
            return web.json_response({"statusCode": 404, "message": "User balance not found"}, status=404)
        if balance.balance < body.amount:
            return web.json_response({"statusCode": 402, "message": "Insufficient credits"}, status=402)
        before = balance.balance
        balance.balance = before - body.amount
        balance.total_spent += body.amount
        balance.version += 1
        entry = Entry(
            id=uuid4(),
            user_id=body.user_id,
            type="usage",
            amount=-body.amount,
            balance_before=before,
            balance_after=balance.balance,
            app_id=body.app_id,
            description=body.description,
            metadata_=body.metadata,
            idempotency_key=body.idempotency_key,
        )
        session.add(entry)
        answer = {
            "success": True,
            "transaction": {"id": str(entry.id), "amount": float(entry.amount)},
            "newBalance": {"balance": float(balance.balance), "totalSpent": float(balance.total_spent)},
        }
    return web.json_response(answer)


async def health(_request: web.Request) -> web.Response:
    """It runs."""
    return web.json_response({"status": "ok"})


def main() -> None:
    """Serve on PORT, with the database DATABASE_URL."""
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
    app = web.Application()
    app[sessions_key] = async_sessionmaker(engine, expire_on_commit=False)
    app.router.add_post("/api/v1/internal/credits/use", use)
    app.router.add_get("/health", health)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
