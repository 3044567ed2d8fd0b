"""Runs a command of the command line in this process."""

from click.testing import CliRunner, Result

from pipeline import main

PRODUCTS = "catalog_products=s3://bucket/products.tsv"


def command(*arguments: object, status: int = 0) -> Result:
    """Runs the command and checks its exit status; a traceback fails the test."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == status, done.output + repr(done.exception)
    assert "Traceback" not in done.output
    return done


def server_command(name: str, host: str, *options: object, status: int = 0) -> Result:
    """Runs a command that talks to a server; a run is given a catalog."""
    products = ["--param", PRODUCTS] if name in ("submit", "schedule") else []
    return command(name, "--host", host, *products, *options, status=status)
