"""`python -m bench`: measure the server beside the yardstick and print both."""

import argparse
import contextlib
import json
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.bus import BUS
from bench.certificate import Certificate, self_signed
from bench.figures import Figures
from bench.lines import LoadError
from bench.load import SCENARIOS
from bench.present import PRESENCE
from bench.report import BESIDE, BUS_ROWS, PRESENCE_ROWS, THIS, YARDSTICK, Rounds, machine, machine_line
from bench.server import BROADWING, running, split_command
from bench.server import YARDSTICK as YARDSTICK_COMMAND

# Bounds of the options. One client address has about 28,000 ports, and not all are free.
MOST_CONNECTIONS, MOST_SECONDS, MOST_ROUNDS = 20_000, 30.0, 20
# Open files besides connections: the server's libraries, logs and listeners.
SPARE_FILES: Final = 100
# Another minute's load from which on a machine is not quiet.
QUIET: Final = 0.5

HELP = """\
Measures a server of channels beside a yardstick, the least that asyncio can do for the same clients, in turns.
With --bus it measures what joins several servers, beside the client libraries by themselves; with --presence what it costs to know
who is there, beside the same with fewer people.
Only the ratios can be compared between machines and days. See bench/README.md.
"""
EXAMPLES = """\
scenarios:
  fanout      deliveries/s to all connections on one topic
  topics      deliveries/s with ten connections per topic
  echo        replies/s, 64 connections with one message in flight
  churn       connect + join + close per second, 32 at a time
  idle        kB of the server's memory per joined connection
  neighbours  an echo on a quiet topic, timed while a room of all connections is written to without pause

scenarios of --bus, for zmq, redis and nats:
  stream-*    200-byte messages/s from one node to another on one topic; beside pyzmq, redis-py, nats-py by themselves
  topics-*    the same on a hundred topics in turn, so that no two messages of a turn can go together
  single-*    the same on one topic with a turn of the loop for each message
  absent-*    what reaches a third node that does not listen; beside one that does
  reach-*     from a push on one node until the last client of another has it; beside all on one node
  workers-*   fanout and echo of a server with two workers; beside one with one

scenarios of --presence:
  join-*      one comes to a room where 100, 1,000 or 10,000 are, until another client is told; beside 100
  state-*     the list for a newcomer; beside the list of 100
  crowd-*     100 a second come and 100 go in a room of 50, 300 or all clients; beside: each change told at once

examples:
  python -m bench                                     everything, in about five minutes
  python -m bench --only echo,churn --rounds 1        two scenarios, once
  python -m bench --tls                               memory and neighbours over TLS
  python -m bench --json before.json                  to compare with later
  python -m bench --server "node server.js {port}"    another server; it needs topic "room:*" with the events
                                                      "new_msg" (broadcast {"body": ...}) and "echo" (reply)
  python -m bench --bus                               the bus, in about five minutes
  python -m bench --bus --only stream-redis,reach     some of it; a name without its end means all of these
  python -m bench --presence                          presence, in about three minutes
  make bench ARGS="--only fanout"                     the same by way of make
"""


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the process with a message when it cannot be understood."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each scenario is run (3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a scenario counts (4)")
    parser.add_argument(
        "--connections",
        type=int,
        help="of fanout, topics, idle, neighbours and crowd-all (5000), or reach and workers (1000)",
    )
    parser.add_argument("--only", metavar="NAMES", help="scenarios, separated by commas")
    parser.add_argument("--bus", action="store_true", help="measure what joins nodes and workers")
    parser.add_argument("--presence", action="store_true", help="measure what it costs to know who is there")
    parser.add_argument("--tls", action="store_true", help="over TLS; without --only: idle and neighbours")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all figures to a file, too")
    parser.add_argument(
        "--server",
        metavar="COMMAND",
        help="measure another server; {port} is filled in, with --tls also {certfile} and {keyfile}",
    )
    parser.add_argument("--path", default="/socket/websocket", help="of the socket (/socket/websocket)")
    options = parser.parse_args(words)
    if (options.bus or options.presence) and (options.tls or options.server is not None):
        group = "--bus" if options.bus else "--presence"
        parser.error(f"{group} measures Broadwing's own nodes over loopback; leave out --tls and --server")
    if options.bus and options.presence:
        parser.error("--bus and --presence are measured one after the other; leave out one of them")
    if options.connections is None:
        options.connections = 1_000 if options.bus else 5_000
    for name, least, most in (
        ("rounds", 1, MOST_ROUNDS),
        ("seconds", 0.1, MOST_SECONDS),
        ("connections", 1, MOST_CONNECTIONS),
    ):
        if not least <= getattr(options, name) <= most:
            parser.error(f"--{name} {getattr(options, name)} is out of bounds; accepted is {least:g} to {most:g}")
    known: list[str] = list(BUS if options.bus else PRESENCE if options.presence else SCENARIOS)
    options.scenarios = ["idle", "neighbours"] if options.tls else known
    if options.only is not None:
        named = dict.fromkeys(name.strip() for name in options.only.split(","))
        groups = {name: [each for each in known if each == name or each.startswith(f"{name}-")] for name in named}
        unknown = [name for name, found in groups.items() if not found]
        if unknown:
            parser.error(f"--only names {', '.join(map(repr, unknown))}; accepted are {', '.join(known)}")
        options.scenarios = list(dict.fromkeys(name for found in groups.values() for name in found))
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    try:
        options.command = split_command(options.server) if options.server is not None else None
    except ValueError as error:
        parser.error(f"--server: {error}")
    return options


def raise_file_limit(connections: int) -> None:
    """Allow this process and the servers it starts as many open files as they need.

    Raises:
        LoadError: The system does not allow so many.
    """
    needed = connections + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard == resource.RLIM_INFINITY or hard >= needed:
        # macOS calls its hard limit infinite and refuses anything above another one, so only what is needed is asked for.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
    allowed = soft if hard == resource.RLIM_INFINITY else hard
    raise LoadError(
        f"{connections:,} connections need {needed:,} open files, and this system allows {allowed:,}; pass --connections "
        f"{max(1, allowed - SPARE_FILES)} or raise the limit (`ulimit -Hn` shows it; on Linux it is set in "
        "/etc/security/limits.conf, on macOS with `sysctl kern.maxfilesperproc`)"
    )


def run(options: argparse.Namespace) -> tuple[Rounds, list[str]]:
    """Run all scenarios on both sides and return the figures and what went wrong."""
    beside = BESIDE if options.bus or options.presence else YARDSTICK
    rounds = Rounds()
    if beside == BESIDE:
        rounds = Rounds(BESIDE, BUS_ROWS if options.bus else PRESENCE_ROWS)
    faults: list[str] = []
    total = options.rounds * len(options.scenarios) * 2
    done = 0
    with contextlib.ExitStack() as stack:
        certificate = stack.enter_context(self_signed()) if options.tls else None
        for number in range(1, options.rounds + 1):
            for scenario in options.scenarios:
                # Who goes first changes, so that neither gets the machine warmed up by the other each time.
                for server in (beside, THIS) if number % 2 else (THIS, beside):
                    done += 1
                    label = f"[{done}/{total}] {scenario}, {server}"
                    tell(f"{label} ...")
                    try:
                        figures = measure(scenario, server, options, certificate, label)
                    except LoadError as error:
                        faults.append(f"{scenario}, {server}, round {number}: {error}")
                        tell(f"{label}: {error}")
                    else:
                        rounds.add(number, scenario, server, figures)
                        tell(f"{label}: {summary(figures)}")
    return rounds, faults


def measure(
    scenario: str, server: str, options: argparse.Namespace, certificate: Certificate | None, label: str
) -> Figures:
    """Run one scenario against a server of its own.

    Raises:
        LoadError: The server did not start, or not do what the scenario needs.
    """

    def progress(text: str) -> None:
        tell(f"{label}: {text}")

    if options.bus:
        return BUS[scenario](server, options.connections, options.seconds, progress)
    if options.presence:
        return PRESENCE[scenario](server, options.connections, options.seconds, progress)
    command: tuple[str, ...] | None = options.command
    files: tuple[str, ...] = ()
    if server == YARDSTICK:
        command, files = YARDSTICK_COMMAND, ("--certfile", "{certfile}", "--keyfile", "{keyfile}")
    elif command is None:
        command, files = BROADWING, ("--ssl-certfile", "{certfile}", "--ssl-keyfile", "{keyfile}")
    with running((*command, *files) if certificate is not None else command, options.path, certificate) as target:
        return uvloop.run(SCENARIOS[scenario](target, options.connections, options.seconds, progress))


def summary(figures: Figures) -> str:
    """Write one scenario's figures as part of a line."""
    texts = {
        "rate": "{:,.0f}/s",
        "p99_ms": "p99 {:.2f} ms",
        "cpu_us": "CPU {:.1f} µs each",
        "kb": "{:.2f} kB each",
        "arrived": "{:.0%} arrived",
        "bytes": "{:,.0f} bytes",
        "bytes_s": "{:,.0f} bytes/s each",
        "frames_s": "{:.1f} frames/s each",
    }
    return ", ".join(text.format(figures[name]) for name, text in texts.items() if name in figures) or "left out here"


def tell(text: str) -> None:
    """Write a line of progress."""
    print(text, file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Measure as told by the command line.

    Returns:
        Exit code: 0 when every scenario gave figures, 1 when one did not.
    """
    options = parse(words)
    try:
        raise_file_limit(options.connections)
    except LoadError as error:
        tell(f"bench: {error}")
        return 1
    facts = machine(options.command)
    tell(machine_line(facts))
    if facts["load"] > QUIET:
        tell(f"The machine is not quiet (load {facts['load']}): rates will be low, and even ratios may be off.")
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended as well
    try:
        rounds, faults = run(options)
    except KeyboardInterrupt:
        tell("Ended before it was done; no figures are written.")
        return 130
    over = "TLS, " if options.tls else ""
    print(machine_line(facts))
    if options.command is not None:
        print(f"this: {options.server}")
    print(f"{over}{options.connections:,} connections, {options.seconds:g} s each, medians of {options.rounds}\n")
    print("\n".join(rounds.table()))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(options, facts, rounds, faults), indent=1) + "\n")
    for fault in faults:
        tell(f"bench: no figures: {fault}")
    tell(f"Done in {time.monotonic() - start:.0f} s.")
    return 1 if faults else 0


def as_json(options: argparse.Namespace, facts: dict[str, Any], rounds: Rounds, faults: list[str]) -> dict[str, Any]:
    """Put together what `--json` writes."""
    names = ("rounds", "seconds", "connections", "tls")
    return {
        "machine": facts,
        "options": {name: getattr(options, name) for name in names},
        "scenarios": rounds.as_json(),
        "faults": faults,
    }


if __name__ == "__main__":
    sys.exit(main())
