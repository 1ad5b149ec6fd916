"""Redis behind TLS, and as a user who may do no more than a job needs."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from model_store.errors import StoreUnavailable
from model_store.redis_backend import RedisBackend
from model_store.redis_connection import RedisConnection
from tests.model_store.exercise import TASK, exercise
from tests.model_store.tls import TlsFront

pytestmark = pytest.mark.redis
RULES_FILE = Path(__file__).parents[2] / "docker/redis/rules.acl"
RULES = RULES_FILE.read_text(encoding="utf-8").split()
SECRET = "hunter2-s3cret"  # noqa: S105  # no real one


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def listen(authority: trustme.CA, redis_url: str) -> Iterator[Callable[..., str]]:
    """Puts TLS before the real server; returns the URL of that, user and password included."""
    with ExitStack() as fronts:

        def start(host: str = "localhost", *, wants_certificate: bool = False) -> str:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(host).configure_cert(context)
            if wants_certificate:
                context.verify_mode = ssl.CERT_REQUIRED
                authority.configure_trust(context)
            parts = urlsplit(redis_url)
            assert parts.port is not None
            front = fronts.enter_context(TlsFront(context, parts.port))
            return f"rediss://:{parts.password}@localhost:{front.port}/0"

        yield start


def test_a_job_can_do_all_it_does_over_tls(
    listen: Callable[..., str], ca_file: Path, namespace: str
) -> None:
    exercise(f"{listen()}?ssl_ca_certs={ca_file}", namespace)


def test_a_client_certificate_can_be_asked_for(
    listen: Callable[..., str],
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    namespace: str,
) -> None:
    mine = authority.issue_cert("job")
    certificate, key = tmp_path / "job.pem", tmp_path / "job.key"
    mine.cert_chain_pems[0].write_to_path(str(certificate))
    mine.private_key_pem.write_to_path(str(key))
    url = f"{listen(wants_certificate=True)}?ssl_ca_certs={ca_file}"
    with pytest.raises(StoreUnavailable):
        exercise(url, namespace)
    exercise(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}", namespace)


@pytest.mark.parametrize(
    ("host", "query", "says"),
    [
        ("localhost", "", "CERTIFICATE_VERIFY_FAILED"),  # an authority that nobody here knows
        ("elsewhere", "?ssl_ca_certs={ca}", "Hostname mismatch"),
    ],
)
def test_a_server_that_is_not_who_it_should_be_gets_no_password(
    listen: Callable[..., str], ca_file: Path, host: str, query: str, says: str
) -> None:
    url = listen(host) + query.format(ca=ca_file)
    with closing(RedisBackend(url, "ns")) as backend, pytest.raises(StoreUnavailable) as refused:
        backend.head(TASK)
    shown = "".join(traceback.format_exception(refused.value))
    assert says in shown
    assert str(urlsplit(url).password) not in shown


def test_checks_can_be_turned_off_where_that_is_said(
    listen: Callable[..., str], ca_file: Path
) -> None:
    url = listen("elsewhere")
    for query in (f"?ssl_ca_certs={ca_file}&ssl_check_hostname=false", "?ssl_cert_reqs=none"):
        with closing(RedisBackend(url + query, "ns")) as backend:
            assert backend.head(TASK) is None


def test_speaking_plainly_to_a_tls_port_is_an_error_like_others(
    listen: Callable[..., str],
) -> None:
    plain = listen().replace("rediss://", "redis://")
    with closing(RedisBackend(plain, "ns")) as backend, pytest.raises(StoreUnavailable):
        backend.head(TASK)


@pytest.fixture
def user(redis_url: str, namespace: str) -> Iterator[Callable[..., str]]:
    """Makes a user with the documented rules, less one of them; returns its URL."""
    with closing(RedisConnection(redis_url)) as admin:

        def make(without: str = "") -> str:
            rules = [rule.replace("flink-cascade", namespace) for rule in RULES if rule != without]
            command = ["ACL", "SETUSER", namespace, "reset", "on", f">{SECRET}", *rules]
            admin.call(lambda client: client.execute_command(*command))
            admin.call(lambda client: client.script_flush())  # other tests have loaded them
            return f"redis://{namespace}:{SECRET}@{redis_url.rsplit('@', 1)[1]}"

        yield make
        admin.call(lambda client: client.acl_deluser(namespace))


def test_the_documented_user_can_do_all_that_a_job_does(
    user: Callable[..., str], namespace: str
) -> None:
    exercise(user(), namespace)


def test_the_documented_user_can_do_nothing_else(user: Callable[..., str], namespace: str) -> None:
    with closing(RedisConnection(user(), retries=0)) as connection:
        for command in ("CONFIG GET *", "FLUSHALL", "KEYS *", "ACL LIST", "DEBUG SLEEP 0"):
            with pytest.raises(StoreUnavailable, match="NoPermission"):
                connection.call(lambda client, c=command: client.execute_command(*c.split()))
        for key in ("other", f"{{{namespace}-other:t}}:head"):
            with pytest.raises(StoreUnavailable, match="NoPermission"):
                connection.call(lambda client, k=key: client.get(k))


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if rule not in ("resetchannels", "+publish")]
)
def test_what_is_missing_is_refused_clearly(
    user: Callable[..., str], namespace: str, rule: str
) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        exercise(user(without=rule), namespace)
    message = str(refused.value)
    assert "permission" in message or "can't run this command" in message
    assert "the user's ACL" in message
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_who_may_not_publish_loses_the_hints_only(user: Callable[..., str], namespace: str) -> None:
    exercise(user(without="+publish"), namespace, hints=False)
