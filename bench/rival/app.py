"""orders/import of the Market API as most Python teams would build it: FastAPI, pydantic, SQLAlchemy, asyncpg.

ordergate is measured against it. Left out: XML, compression, custom fields, roles, clearing by an empty text, `merge`,
`abort`, `dry_run`, matching other than by e-mail, events of statuses. All of that would be more work, not less.
"""

import gc
import json
import os
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from secrets import token_hex
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, model_validator
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

# ---- Tables: those of ordergate, as far as they are used. What an account sets up stands in one.

metadata = sa.MetaData()
INT, TEXT, MONEY, TIME = sa.BigInteger, sa.Text(collation="C"), sa.Numeric(24, 6), sa.DateTime(timezone=True)


def key(name, kind=TEXT, *more):
    return sa.Column(name, kind, *more, primary_key=True)


def field(name, kind=TEXT, **options):
    return sa.Column(name, kind, nullable=False, **options)


tokens = sa.Table("tokens", metadata, key("hash", sa.LargeBinary), field("account_id", INT))
references = sa.Table(  # touchpoints, which have a profile database; currencies, regions, statuses, line statuses
    "account_references", metadata, key("account_id", INT), key("kind"), key("external_id"),
    sa.Column("profile_database_id", INT))
profiles = sa.Table(
    "profiles", metadata, key("account_id", INT), key("id", INT, sa.Identity()), field("profile_database_id", INT),
    field("profile_id"))
identities = sa.Table(
    "identities", metadata, key("account_id", INT), key("profile_database_id", INT), key("kind"), key("value"),
    field("profile", INT))
products = sa.Table("products", metadata, key("account_id", INT), key("external_id"), field("stub", sa.Boolean))
skus = sa.Table(
    "skus", metadata, key("account_id", INT), key("external_id"), sa.Column("product", TEXT), field("stub", sa.Boolean))
orders = sa.Table(
    "orders", metadata, key("account_id", INT), key("id", INT, sa.Identity()), field("external_id"),
    field("revision", INT), field("profile", INT), field("endpoint"), field("status"), field("total_price", MONEY),
    field("currency"), sa.Column("delivery_cost", MONEY), sa.Column("region", TEXT), field("tags", ARRAY(TEXT)),
    field("create_time", TIME), field("update_time", TIME), sa.UniqueConstraint("account_id", "external_id"))
order_lines = sa.Table(
    "order_lines", metadata, key("account_id", INT), key("order_id", INT), key("external_id"),
    field("position", sa.Integer), sa.Column("product", TEXT), sa.Column("sku", TEXT), field("status"),
    sa.Column("base_price_per_item", MONEY), sa.Column("min_price_per_item", MONEY),
    sa.Column("final_price_per_item", MONEY), field("count", sa.Integer))
outbox = sa.Table(
    "outbox", metadata, key("account_id", INT), key("id", INT, sa.Identity()), field("order_id", INT),
    field("order_external_id"), field("order_revision", INT), field("type"), field("changes", JSONB),
    field("created_at", TIME, index=True))

# ---- What is sent.

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]+$")]
Email = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=255,
                                         pattern=r"^[^@\x00-\x1f]+@[^@\x00-\x1f]+$")]
Currency = Annotated[str, StringConstraints(to_upper=True, pattern=r"^[A-Za-z]{3}$")]
Amount = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=6)]
Time = Annotated[datetime, AfterValidator(lambda time: time if time.tzinfo else time.replace(tzinfo=UTC))]


class LineIn(BaseModel, coerce_numbers_to_str=True):
    external_id: Name
    product: Name | None = None
    sku: Name | None = None
    status: Name | None = None
    base_price_per_item: Amount | None = None
    min_price_per_item: Amount | None = None
    final_price_per_item: Amount | None = None
    count: Annotated[int, Field(ge=0, le=2147483647)] | None = None

    @model_validator(mode="after")
    def product_or_sku(self):
        if self.product is None and self.sku is None:
            raise ValueError("product or sku is required")
        return self


class OrderIn(BaseModel, coerce_numbers_to_str=True):
    external_id: Name
    matching: Literal["email"] | None = None
    email: Email
    endpoint: Name
    status: Name
    total_price: Amount
    currency: Currency
    lines_mode: Literal["replace"] | None = None
    delivery_cost: Amount | None = None
    region: Name | None = None
    tags: Annotated[list[Name], Field(max_length=100)] | None = None
    create_time: Time | None = None
    update_time: Time | None = None
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def no_line_twice(self):
        if len({line.external_id for line in self.lines}) < len(self.lines):
            raise ValueError("an external_id of its lines is there twice")
        return self


class ImportIn(BaseModel):
    token: str | None = None
    skip_triggers: bool | None = None
    on_error: Literal["continue"] | None = None
    dry_run: Literal[False] | None = None
    detail: bool | None = None
    data: Annotated[list[Any], Field(min_length=1, max_length=10_000)]  # each order is checked by itself


def explain(error: ValidationError, place: str = "") -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place += "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"{place}: {'required' if first['type'] == 'missing' else first['msg']}".lstrip(".: ")


# ---- The import: read by sets, decide in Python, write by sets. Sets are sorted: all requests lock in one order.

ORDER_COLUMNS, LINE_COLUMNS = orders.columns.keys(), order_lines.columns.keys()
ORDER_FIELDS = ("endpoint", "status", "total_price", "currency", "delivery_cost", "region", "tags", "create_time")
LINE_FIELDS = LINE_COLUMNS[3:]
NO_ARTICLE = {"product": None, "sku": None}
NEW_LINE = dict.fromkeys(LINE_FIELDS) | {"status": "new", "count": 1}
BUILT_IN = {("status", name) for name in ("new", "delivered", "paid", "canceled", "part_refunded")} | {
    ("line status", name) for name in ("new", "processing", "delivering", "delivered", "canceled", "refunded")}
CHUNK = 1000

upsert_orders = insert(orders)
upsert_orders = upsert_orders.on_conflict_do_update(
    index_elements=["account_id", "external_id"],
    set_={name: upsert_orders.excluded[name] for name in ORDER_COLUMNS[3:]},
    # An order that another request made or changed since it was read is left alone, and so it is not returned.
    where=orders.c.revision == upsert_orders.excluded.revision - 1).returning(orders.c.external_id, orders.c.id)
upsert_lines = insert(order_lines)
upsert_lines = upsert_lines.on_conflict_do_update(
    index_elements=["account_id", "order_id", "external_id"],
    set_={name: upsert_lines.excluded[name] for name in LINE_FIELDS})


class Conflict(Exception):
    """Another request was in the way: the transaction has to run again."""


async def select_in(conn, query, column, values) -> list:
    values, rows = sorted(values), []
    for start in range(0, len(values), CHUNK):
        rows += (await conn.execute(query.where(column.in_(values[start:start + CHUNK])))).all()
    return rows


def named_by(order: dict):
    for field, kind in ("endpoint", "touchpoint"), ("status", "status"), ("currency", "currency"), ("region", "region"):
        if field in order:
            yield field, kind, order[field]
    for number, line in enumerate(order["lines"]):
        if "status" in line:
            yield f"lines[{number}].status", "line status", line["status"]


async def check_references(conn, account: int, batch: dict[int, dict]) -> tuple[dict[int, str], dict[str, int]]:
    """What is wrong with which orders, and the profile databases of the touchpoints."""
    names = {name for order in batch.values() for _, _, name in named_by(order)}
    query = sa.select(references.c["kind", "external_id", "profile_database_id"])
    rows = await select_in(conn, query.where(references.c.account_id == account), references.c.external_id, names)
    known, wrong = BUILT_IN | {(kind, name) for kind, name, _ in rows}, {}
    for index, order in batch.items():
        for field, kind, name in named_by(order):
            if (kind, name) not in known:
                wrong[index] = f'data[{index}].{field}: unknown {kind} "{name}"'
                break
    return wrong, {name: database for kind, name, database in rows if kind == "touchpoint"}


async def find_or_make_profiles(conn, account: int, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], int]:
    query = sa.select(identities.c["profile", "profile_database_id", "value"]).where(
        identities.c.account_id == account, identities.c.kind.in_(["email_profile", "email_sub"]),
        identities.c.profile_database_id.in_({database for database, _ in wanted}))
    rows = await select_in(conn, query, identities.c.value, {email for _, email in wanted})
    found = {(database, email): profile for profile, database, email in sorted(rows, reverse=True)}  # the oldest wins
    if missing := {customer: token_hex(12) for customer in sorted(wanted - found.keys())}:
        made = dict((await conn.execute(insert(profiles).returning(profiles.c.profile_id, profiles.c.id), [
            {"account_id": account, "profile_database_id": database, "profile_id": profile_id}
            for (database, _), profile_id in missing.items()])).all())
        keys = [{"account_id": account, "profile_database_id": database, "kind": kind, "value": value,
                 "profile": made[profile_id]} for (database, email), profile_id in missing.items()
                for kind, value in (("email_profile", email), ("profile_id", profile_id))]
        written = await conn.execute(insert(identities).on_conflict_do_nothing().returning(identities.c.profile), keys)
        if len(written.all()) < len(keys):
            raise Conflict
        found |= {customer: made[profile_id] for customer, profile_id in missing.items()}
    return found


async def make_stubs(conn, account: int, table: sa.Table, wanted: dict[str, dict]) -> None:
    query = sa.select(table.c.external_id).where(table.c.account_id == account)
    known = {name for (name,) in await select_in(conn, query, table.c.external_id, wanted)}
    if missing := sorted(wanted.keys() - known):
        await conn.execute(insert(table).on_conflict_do_nothing(), [
            {"account_id": account, "external_id": name, "stub": True, **wanted[name]} for name in missing])


def differences(before: dict, after: dict, fields) -> dict[str, Any]:
    return {field: {"from": before[field], "to": after[field]} for field in fields if before[field] != after[field]}


async def store(conn, account: int, batch: dict[str, dict], databases: dict[str, int], triggers: bool,
                again: bool) -> dict:
    """Stores orders of different external ids; gives outcome and id of each."""
    now = datetime.now(UTC)
    customers = {name: (databases[order["endpoint"]], order["email"]) for name, order in batch.items()}
    profile_of = await find_or_make_profiles(conn, account, set(customers.values()))
    query = sa.select(orders).where(orders.c.account_id == account)
    if again:  # most orders have one writer, so they are locked only after a conflict
        query = query.order_by(orders.c.external_id).with_for_update()
    rows = await select_in(conn, query, orders.c.external_id, batch)
    stored = {row.external_id: dict(zip(ORDER_COLUMNS, row)) for row in rows}
    query = sa.select(order_lines).where(order_lines.c.account_id == account)
    stored_lines = defaultdict(dict)
    for row in await select_in(conn, query, order_lines.c.order_id, {row.id for row in rows}):
        stored_lines[row.order_id][row.external_id] = dict(zip(LINE_COLUMNS, row))

    results, order_rows, changed_lines, gone, events = {}, [], [], [], []
    for name, order in sorted(batch.items()):
        before = stored.get(name)
        after = before or {"account_id": account, "external_id": name, "revision": 0, "create_time": now,
                           "delivery_cost": None, "region": None, "tags": []}
        after = after | {field: order[field] for field in ORDER_FIELDS if field in order}
        after |= {"profile": profile_of[customers[name]], "update_time": order.get("update_time", now)}
        old = stored_lines[before["id"]] if before else {}
        new = {line["external_id"]: {**old.get(line["external_id"], NEW_LINE), **NO_ARTICLE, **line, "position": place}
               for place, line in enumerate(order["lines"])}
        changed = [line for id, line in new.items() if line != old.get(id)]
        removed = [id for id in old if id not in new]
        if before:
            changes = differences(before, after, (*ORDER_FIELDS, "profile"))
            if changed or removed:
                changes["lines"] = {
                    "added": [id for id in new if id not in old], "removed": removed,
                    "changed": {line["external_id"]: differences(old[line["external_id"]], line, LINE_FIELDS)
                                for line in changed if line["external_id"] in old}}
            if not changes:
                results[name] = ("unchanged", before["id"])
                continue
            gone += [(before["id"], id) for id in removed]
        else:
            changes = {field: {"from": None, "to": after[field]} for field in ("status", "total_price", "currency")}
        after["revision"] += 1
        after.pop("id", None)
        order_rows.append(after)
        changed_lines.append(changed)
        events.append({"type": "order.updated" if before else "order.created", "changes": changes})
    if not order_rows:
        return results

    ids = dict((await conn.execute(upsert_orders, order_rows)).all())
    if len(ids) < len(order_rows):
        raise Conflict
    lines = [line for changed in changed_lines for line in changed]
    await make_stubs(conn, account, products, {line["product"]: {} for line in lines if line["product"]})
    await make_stubs(conn, account, skus, {line["sku"]: {"product": line["product"]} for line in lines if line["sku"]})
    for row, changed, event in zip(order_rows, changed_lines, events):
        name, owner = row["external_id"], {"account_id": account, "order_id": ids[row["external_id"]]}
        results[name] = (event["type"].removeprefix("order."), ids[name])
        for line in changed:
            line |= owner
        event |= owner | {"order_external_id": name, "order_revision": row["revision"], "created_at": now}
    for start in range(0, len(gone), CHUNK):
        await conn.execute(sa.delete(order_lines).where(order_lines.c.account_id == account, sa.tuple_(
            order_lines.c.order_id, order_lines.c.external_id).in_(gone[start:start + CHUNK])))
    if lines:
        await conn.execute(upsert_lines, lines)
    if triggers:
        await conn.execute(insert(outbox), events)
    return results


async def import_orders(conn, sent: ImportIn, token: str, batch: dict[int, dict], wrong: dict[int, str],
                        again: bool) -> dict:
    query = sa.select(tokens.c.account_id).where(tokens.c.hash == sha256(token.encode()).digest())
    account = (await conn.execute(query)).scalar_one_or_none()
    if account is None:
        return failure(401, "token: unknown")
    unknown, databases = await check_references(conn, account, batch)
    wrong = wrong | unknown
    rounds, times, done = defaultdict(dict), Counter(), {}  # an external id that is there twice: two imports in a row
    for index, order in batch.items():
        if index not in wrong:
            rounds[times[order["external_id"]]][order["external_id"]] = index
            times[order["external_id"]] += 1
    for indexes in rounds.values():
        stored = await store(conn, account, {name: batch[index] for name, index in indexes.items()}, databases,
                             not sent.skip_triggers, again)
        done |= {indexes[name]: result for name, result in stored.items()}

    results = []
    for index, item in enumerate(sent.data):
        if index in wrong:
            name = item.get("external_id") if isinstance(item, dict) else ""
            result = {"error": 400, "error_text": wrong[index], "external_id": name if isinstance(name, str) else ""}
            detail = {"index": index, "outcome": "failed"}
        else:
            result = {"error": 0, "external_id": batch[index]["external_id"]}
            detail = {"index": index, "outcome": done[index][0], "id": done[index][1]}
        results.append(result | detail if sent.detail else result)
    return {"error": 0, "error_text": "", "result": results}


# ---- The server.

# No connections beyond the pool's: they would be closed after each use, and making one costs more than a small import.
engine = create_async_engine(sa.make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
                             pool_size=10, max_overflow=0, json_serializer=lambda value: json.dumps(value, default=str))


def failure(error: int, error_text: str) -> dict[str, Any]:
    return {"error": error, "error_text": error_text}


def reply(answer: dict[str, Any], status: int = 200) -> JSONResponse:
    return JSONResponse(answer, status, media_type="application/json; charset=utf-8")


@asynccontextmanager
async def set_up(app: FastAPI):
    token, endpoint, currency = (os.environ.get(f"RIVAL_{name}", default) for name, default in (
        ("TOKEN", "abcdefghijklmnqrstuvwxyz"), ("ENDPOINT", "website"), ("CURRENCY", "USD")))
    names = {("touchpoint", endpoint), ("region", "region_YnCrJj8Y1"), ("currency", currency), ("currency", "USD"),
             ("currency", "EUR"), ("currency", "RUB")}
    async with engine.begin() as conn:
        await conn.execute(sa.text("select pg_advisory_xact_lock(7341)"))  # one worker after the other
        await conn.run_sync(metadata.create_all)
        await conn.execute(insert(tokens).on_conflict_do_nothing(), [
            {"hash": sha256(token.encode()).digest(), "account_id": 1}])
        await conn.execute(insert(references).on_conflict_do_nothing(), [
            {"account_id": 1, "kind": kind, "external_id": name, "profile_database_id": 1} for kind, name in names])
    gc.freeze()  # a collection need not look through what the start made
    yield
    await engine.dispose()


app = FastAPI(lifespan=set_up, openapi_url=None)


@app.get("/health")
async def health() -> dict[str, str]:
    async with engine.connect() as conn:
        await conn.execute(sa.text("select 1"))
    return {"status": "ok"}


@app.post("/api/v1.1/market/orders/import")
async def orders_import(request: Request) -> JSONResponse:
    try:
        sent = ImportIn.model_validate_json(await request.body())
    except ValidationError as error:
        return reply(failure(400, explain(error)))
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    sent_tokens = {sent.token, request.query_params.get("token"), bearer.strip() if scheme.lower() == "bearer" else ""}
    if len(sent_tokens := sent_tokens - {None, ""}) != 1:
        return reply(failure(401, "token: they disagree" if sent_tokens else "token: required"))
    batch, wrong = {}, {}
    for index, item in enumerate(sent.data):
        try:
            # What is absent, or null, keeps its stored value or gets its default.
            batch[index] = OrderIn.model_validate(item).model_dump(exclude_none=True)
        except ValidationError as error:
            wrong[index] = explain(error, f"data[{index}]")
    for attempt in range(10):
        try:
            async with engine.begin() as conn:
                answer = await import_orders(conn, sent, *sent_tokens, batch, wrong, attempt > 0)
            return reply(answer)
        except Conflict:
            continue
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in ("40001", "40P01"):  # serialization failure, deadlock
                raise
    return reply(failure(503, "too busy, try again"), 503)
