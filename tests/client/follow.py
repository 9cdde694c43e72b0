"""A client of Lotline that shares no code with it: Python, with nothing but the public NATS client.

It sends commands, half of them as requests and half to the queue, until each has its receipt, over every break of the
server and of the service; and follows what is on hand, twice: from the first change on, and, begun in mid-way, from the
bucket of current values. Each change has to follow from the one before. At the end both must have come to what the
client computed by itself from what it sent.

    python3 follow.py --url nats://localhost:4222 --ledger LEDGER --events 1000

Writes a line "sent N" for each tenth, and at last one JSON object. Exits with 1 and a reason where anything is missing,
repeated or otherwise than computed.
"""

import argparse
import asyncio
import json
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import nats
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

PER_BATCH = 8
AT_ONCE = 48


class Wrong(Exception):
    """What a client must never see."""


def command(number):
    """The command of a number: eight for each batch, all of them observations."""
    batch, step = divmod(number, PER_BATCH)
    at = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number)
    line = {"batch": {"item": "milk", "code": f"L{batch}.{batch % 7}"}}
    body = {"id": f"c{number}", "occurred_at": at.isoformat().replace("+00:00", "Z"), "lines": [line]}

    def amount(value):
        line["quantity"] = {"value": value, "unit": "KGM"}

    if step in (0, 4):
        amount("100" if step == 0 else "50")
        body.update(type="received", to="dock")
        body["from"] = "farm"
    elif step == 6:
        amount("3")
        line["from"] = "dock"
        body.update(type="shipped", shipment=f"S{batch}", to="party:shop")
    else:
        value, origin, to = {
            1: ("10", "dock", "store"),
            2: ("5", "store", "line"),
            3: ("20", "dock", "store"),
            5: ("1.5", "line", "store"),
            7: ("0.25", "dock", "store"),
        }[step]
        amount(value)
        line["from"] = origin
        body.update(type="moved", to=to)
    return body


def computed(events):
    """What is where by plain addition, from the commands alone: (code, place) to a quantity."""
    there = {}

    def add(code, place, value):
        there[code, place] = there.get((code, place), Decimal(0)) + value

    for number in range(events):
        told = command(number)
        line = told["lines"][0]
        code, value = line["batch"]["code"], Decimal(line["quantity"]["value"])
        if told["type"] == "received":
            add(code, "dock", value)
        elif told["type"] == "shipped":
            add(code, line["from"], -value)
            add(code, f"transit:{told['shipment']}", value)
        else:
            add(code, line["from"], -value)
            add(code, told["to"], value)
    return {key: value for key, value in there.items() if value}


class Sender:
    """Sends commands until each has its receipt."""

    def __init__(self, client, ledger, events):
        self.client, self.ledger, self.events = client, ledger, events
        self.stream = client.jetstream()
        self.receipts = {}
        self.retries = self.duplicates = self.sent = 0
        self.answers = f"client.{ledger}.answers"

    async def heard(self, message):
        self.take(json.loads(message.data))

    def take(self, answer):
        kind, first = answer["answer"], answer
        if kind == "duplicate":
            first, self.duplicates = answer["first"], self.duplicates + 1
        elif kind != "recorded":
            raise Wrong(f"an observation was answered {answer}")
        name, receipt = answer.get("command") or first["command"], first["receipt"]
        known = self.receipts.setdefault(name, receipt)
        if known != receipt:
            raise Wrong(f"{name} has two receipts: {known} and {receipt}")

    async def ask(self, number):
        """A request, again and again until it is answered."""
        body = json.dumps({"source": "mes", **command(number)}).encode()
        while True:
            try:
                message = await self.client.request(f"lotline.{self.ledger}.submit.mes", body, timeout=5)
            except (NatsError, asyncio.TimeoutError):
                self.retries += 1
                await asyncio.sleep(0.1)
                continue
            code = (message.headers or {}).get("Nats-Service-Error-Code")
            if code in ("429", "503", "500"):
                self.retries += 1
                await asyncio.sleep(int(message.headers.get("Lotline-Retry-After-Ms", 100)) / 1000)
                continue
            if code:
                raise Wrong(f"command {number} was refused: {message.headers}")
            self.take(json.loads(message.data))
            return

    async def put(self, number):
        """Into the queue, again and again until the server has it."""
        body = json.dumps({"source": "scanner", **command(number)}).encode()
        headers = {"Nats-Msg-Id": f"c{number}", "Lotline-Reply-To": self.answers}
        while True:
            try:
                await self.stream.publish(f"lotline.{self.ledger}.queue.scanner", body, timeout=5, headers=headers)
                return
            except (NatsError, asyncio.TimeoutError):
                self.retries += 1
                await asyncio.sleep(0.1)

    async def run(self):
        await self.client.subscribe(self.answers, cb=self.heard)
        numbers = iter(range(self.events))

        async def work():
            for number in numbers:
                await (self.put(number) if number % 2 else self.ask(number))
                self.sent += 1
                if self.sent % max(1, self.events // 10) == 0:
                    print(f"sent {self.sent}", flush=True)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        # Answers of the queue may have been lost with a connection: the same command again has the same receipt.
        for _ in range(200):
            missing = [number for number in range(self.events) if f"c{number}" not in self.receipts]
            if not missing:
                break
            await asyncio.sleep(0.05)
        for number in missing:
            body = json.dumps({"source": "scanner", **command(number)}).encode()
            while True:
                try:
                    message = await self.client.request(f"lotline.{self.ledger}.submit.scanner", body, timeout=5)
                    if not (message.headers or {}).get("Nats-Service-Error-Code"):
                        self.take(json.loads(message.data))
                        break
                except (NatsError, asyncio.TimeoutError):
                    pass
                self.retries += 1
                await asyncio.sleep(0.1)
        if len(self.receipts) != self.events:
            raise Wrong(f"{len(self.receipts)} receipts for {self.events} commands")
        return max(receipt["commit"] for receipt in self.receipts.values())


def timeless(row):
    return None if row is None else {key: value for key, value in row.items() if key != "as_known_at"}


class Follower:
    """Follows the changes of what is on hand."""

    def __init__(self, client, ledger, name="a look into the bucket"):
        self.who = name
        self.client, self.stream = client, client.jetstream()
        self.bucket, self.name = f"KV_lotline-{ledger}-on-hand", f"lotline-{ledger}-on-hand-changes"
        self.prefix = f"$KV.lotline-{ledger}-on-hand."
        self.rows, self.as_of, self.begun = {}, {}, "nothing"
        self.sequence = self.commit = self.changes = self.skipped = self.resumed = 0
        self.whole = True

    async def snapshot(self):
        """What the bucket says; the changes behind its own mark follow."""
        while True:
            try:
                mark = await self.stream.get_last_msg(self.bucket, self.prefix + "as-of")
                break
            except (NatsError, NotFoundError, APIError, asyncio.TimeoutError):
                await asyncio.sleep(0.1)
        mark = json.loads(mark.data)
        self.sequence, self.commit = mark["sequence"], mark["commit"]
        self.begun = f"change {self.sequence}, commit {self.commit}"
        subjects, offset = {}, 0
        info = await self.stream.stream_info(self.bucket, subjects_filter=self.prefix + ">")
        subjects = info.state.subjects or {}
        for subject in subjects:
            key = subject[len(self.prefix):]
            if key == "as-of":
                continue
            message = await self.stream.get_last_msg(self.bucket, subject)
            self.as_of[key] = int(message.headers["Lotline-Commit"])
            if message.headers.get("KV-Operation") != "DEL":
                self.rows[key] = timeless(json.loads(message.data))
        return len(subjects)

    def apply(self, sequence, change, step):
        if sequence != self.sequence + 1:
            raise Wrong(f"change {sequence} came behind change {self.sequence}")
        self.sequence = sequence
        number, of = step.split("/")
        self.whole = number == of
        if change["commit"] < self.commit:
            raise Wrong(f"change {sequence} is of commit {change['commit']}, behind {self.commit}")
        self.commit = change["commit"]
        key = change["key"]
        if change["commit"] <= self.as_of.get(key, 0):
            # The value in the bucket had it.
            self.skipped += 1
            return
        old, new = timeless(change.get("old")), timeless(change.get("new"))
        if self.rows.get(key) != old:
            raise Wrong(
                f"{self.who}: change {sequence} (commit {change['commit']}) of {key} is from {old}, and here is "
                f"{self.rows.get(key)} as of commit {self.as_of.get(key)}; begun behind {self.begun}"
            )
        if new is None:
            del self.rows[key]
        else:
            self.rows[key] = new
        self.changes += 1

    async def run(self, done):
        """Until the change of a commit that `done` tells, when it is known."""
        while True:
            try:
                config = ConsumerConfig(
                    ack_policy=AckPolicy.NONE,
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=self.sequence + 1,
                    inactive_threshold=30,
                )
                name = (await self.stream.add_consumer(self.name, config)).name
                reader = await self.stream.pull_subscribe_bind(consumer=name, stream=self.name)
                self.resumed += 1
                # A client may leave and come back anywhere.
                for _ in range(3):
                    try:
                        messages = await reader.fetch(500, timeout=2)
                    except asyncio.TimeoutError:
                        messages = []
                        # A server that was started again has forgotten its reader.
                        await reader.consumer_info()
                    for message in messages:
                        step = message.headers["Lotline-Step"]
                        self.apply(message.metadata.sequence.stream, json.loads(message.data), step)
                    # A commit has come whole only with the last change of its step.
                    if done() is not None and self.commit >= done() and self.whole:
                        return
            except (NatsError, APIError, asyncio.TimeoutError):
                await asyncio.sleep(0.2)

    async def story(self, key):
        """All that the stream and the bucket say of a key: what a difference is searched in."""
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
        lines = [f"{self.who}, begun behind {self.begun}: skipped {self.skipped}, as of {self.as_of.get(key)}"]
        name = (await self.stream.add_consumer(self.name, config)).name
        reader = await self.stream.pull_subscribe_bind(consumer=name, stream=self.name)
        while True:
            messages = await reader.fetch(500, timeout=10)
            for message in messages:
                change = json.loads(message.data)
                if change["key"] == key:
                    sums = [row and row["quantity"]["value"] for row in (change.get("old"), change.get("new"))]
                    lines.append(f"change {message.metadata.sequence.stream}, commit {change['commit']}: {sums}")
            if messages[-1].metadata.num_pending == 0:
                break
        try:
            message = await self.stream.get_last_msg(self.bucket, self.prefix + key)
            lines.append(f"bucket: {message.headers} {message.data}")
        except NotFoundError:
            lines.append("bucket: nothing")
        return "\n".join(lines)

    def keys(self):
        return {(row["batch"]["code"], row["place"]): key for key, row in self.rows.items()}

    def sums(self):
        told = {}
        for row in self.rows.values():
            code = row["batch"]["code"]
            told[code, row["place"]] = Decimal(row["quantity"]["value"])
        return told


async def main(asked):
    failures = []

    async def trouble(error):
        # Breaks are expected; what an answer's handler raises is not.
        if isinstance(error, Wrong):
            failures.append(error)

    client = await nats.connect(
        asked.url,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        error_cb=trouble,
        pending_size=64 << 20,
    )
    sender = Sender(client, asked.ledger, asked.events)
    head = None
    early = Follower(client, asked.ledger, "the follower from the first change")
    late = Follower(client, asked.ledger, "the follower from the bucket")
    in_bucket = 0

    async def send():
        nonlocal head
        head = await sender.run()

    async def follow_late():
        nonlocal in_bucket
        while sender.sent < asked.events // 3:
            await asyncio.sleep(0.05)
        while not in_bucket:
            try:
                in_bucket = await late.snapshot()
            except (NatsError, APIError, asyncio.TimeoutError):
                # All of it anew: the server went away in the middle.
                late.rows, late.as_of = {}, {}
                await asyncio.sleep(0.2)
        await late.run(lambda: head)

    await asyncio.gather(send(), early.run(lambda: head), follow_late())
    if failures:
        raise failures[0]
    right = computed(asked.events)
    for follower in (early, late):
        told = follower.sums()
        if told != right:
            some = {key: (told.get(key), right.get(key)) for key in told.keys() | right.keys()}
            some = [item for item in some.items() if item[1][0] != item[1][1]]
            keys = {**early.keys(), **late.keys()}
            story = await follower.story(keys[some[0][0]]) if some[0][0] in keys else ""
            raise Wrong(f"{follower.who}: {len(some)} not what was sent: {some[:5]}\n{story}")
    # The bucket comes behind its changes.
    for _ in range(300):
        snapshot = Follower(client, asked.ledger)
        await snapshot.snapshot()
        if snapshot.sequence == early.sequence:
            break
        await asyncio.sleep(0.1)
    if snapshot.rows != early.rows or snapshot.rows != late.rows:
        raise Wrong("the bucket says something else than its changes")
    await client.close()
    print(
        json.dumps(
            {
                "events": asked.events,
                "receipts": len(sender.receipts),
                "commits": head,
                "retries": sender.retries,
                "duplicates": sender.duplicates,
                "changes": early.changes,
                "resumed": early.resumed,
                "in_bucket_in_mid_way": in_bucket,
                "changes_behind_the_bucket": late.changes,
                "rows": len(right),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--events", type=int, default=1000)
    try:
        asyncio.run(main(parser.parse_args()))
    except Wrong as wrong:
        sys.exit(f"wrong: {wrong}")
