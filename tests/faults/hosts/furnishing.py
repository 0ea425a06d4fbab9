"""The system on its hosts: two of web, workers and schedulers, one with the data, one with the outside world."""

from __future__ import annotations

from pathlib import Path

from devkit import ports
from devkit.postgres import Postgres
from devkit.valkey import Valkey
from tests.faults.hosts.network import SUBNET, Network
from tests.faults.rig.house import (
    SERVICE,
    WEBS,
    House,
    Server,
    add_service,
    add_simulators,
    service_environment,
)
from tests.faults.rig.proxy import Link
from tests.servers import copy_of_golden

HERE = "load"
"""The host of the clients, of the load balancer that Stripe's webhooks go through, and of who looks on."""

DATA = "data"
OUTSIDE = "outside"
SIMULATORS = ("auth", "stripe", "notify")
HOSTS = (DATA, OUTSIDE, *SERVICE)
LIVES_ON = {DATA: ("postgres", "valkey"), OUTSIDE: SIMULATORS} | {host: (host,) for host in SERVICE}
"""The members of the house on each host."""

WEB_PORT = 3061


def put_on_host(postgres: Postgres, network: Network) -> Postgres:
    """Have a server that does not run yet run on the host of the data, for all hosts."""
    postgres.host, postgres.within = network.addresses[DATA], network.within(DATA)
    with (postgres.data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {SUBNET}.0/24 scram-sha-256\n")
    return postgres


def furnish(network: Network, home: Path) -> House:
    """Make all members, each on its host; nothing runs yet but PostgreSQL and Valkey, whose ports must be known."""
    at = network.addresses
    house = House(home, put_on_host(copy_of_golden(home / "postgres", durable=True), network))
    valkey = Valkey(home / "valkey", host=at[DATA], within=network.within(DATA))
    for name, server in (("postgres", house.postgres), ("valkey", valkey)):
        house.members[name] = Server(server)
        house.members[name].start()
    chosen = {name: ports.choose() for name in SIMULATORS}
    found_at = {name: f"http://{at[OUTSIDE]}:{port}" for name, port in chosen.items()}
    balancer = Link("stripe>web", [(at[web], WEB_PORT) for web in WEBS], host=at[HERE])
    house.links[balancer.name] = balancer
    add_simulators(
        house,
        chosen,
        webhooks=f"http://{balancer.host}:{balancer.port}",
        issuer=found_at["auth"],
        host=at[OUTSIDE],
        within=network.within(OUTSIDE),
    )
    for who in SERVICE:
        variables = service_environment(
            postgres=house.postgres.url(),
            valkey=valkey.url(),
            more={"PORT": str(WEB_PORT), "HOST": at[who]} if who in WEBS else {},
            **found_at,
        )
        add_service(house, who, variables, network.within(who))
        if who in WEBS:
            house.urls[who] = f"http://{at[who]}:{WEB_PORT}"
    return house
