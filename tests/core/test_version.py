"""Version negotiation: strict Semantic Versioning, Elixir's requirements."""

import pytest

from broadwing.core.version import DEFAULT_VERSION, matches, negotiate, parse_requirement, parse_version
from broadwing.exceptions import BadRequest, ConfigurationError, InvalidVersion, VersionError

# The default serializers of Phoenix 1.8.
TABLE = (("~> 1.0.0", "v1"), ("~> 2.0.0", "v2"))


@pytest.mark.parametrize("vsn", ["2.0.0", "2.0.9", "2.0.0+build", "2.0.0+001.-a", "2.0.1-rc.1", "2.0.10"])
def test_a_version_of_the_2_0_series_gets_the_second_serializer(vsn: str) -> None:
    assert negotiate(vsn, TABLE) == "v2"


@pytest.mark.parametrize("vsn", ["1.0.0", "1.0.7", "1.0.1-alpha"])
def test_a_version_of_the_1_0_series_gets_the_first_serializer(vsn: str) -> None:
    assert negotiate(vsn, TABLE) == "v1"


def test_no_version_means_the_first_one() -> None:
    assert DEFAULT_VERSION == "1.0.0"
    assert negotiate(None, TABLE) == "v1"


def test_the_first_requirement_that_matches_wins() -> None:
    assert negotiate("2.0.0", (("~> 2.0", "wide"), ("~> 2.0.0", "narrow"))) == "wide"


@pytest.mark.parametrize(
    "vsn", ["2.0.0-rc.1", "2.1.0", "2.1.0-0", "2.1.0-rc.1", "3.0.0", "1.1.0", "0.9.9", "123.1.1", "1.0.0-rc.1"]
)
def test_a_version_nobody_serves_is_refused_with_the_requirements(vsn: str) -> None:
    with pytest.raises(VersionError) as caught:
        negotiate(vsn, TABLE)
    assert not isinstance(caught.value, InvalidVersion)
    assert isinstance(caught.value, BadRequest)
    assert caught.value.status == 403
    assert str(caught.value) == (
        f'The client\'s requested transport version "{vsn}" '
        'does not match server\'s version requirements of ["~> 1.0.0", "~> 2.0.0"]'
    )


@pytest.mark.parametrize(
    "vsn",
    [
        *("2", "2.0", "v2.0.0", "02.0.0", "2.00.0", "2.0.00", "abc", "", "2.0.0.0", "2.0.0-", "2.0.0+", "2.0.0-01"),
        *("2.0.0-a..b", "2.0.0+a+b", "2.0.0-a_b", " 2.0.0", "2.0.0 ", "-2.0.0", "2.0.-0", "2..0", "2.0.x"),
        *("2.0.0\n", "\u0662.0.0"),
    ],
)
def test_what_is_no_semantic_version_is_refused_as_such(vsn: str) -> None:
    with pytest.raises(InvalidVersion) as caught:
        negotiate(vsn, TABLE)
    assert caught.value.status == 403
    assert str(caught.value).startswith("Client sent invalid transport version ")


def test_the_warning_shows_what_was_sent() -> None:
    with pytest.raises(InvalidVersion) as caught:
        negotiate("2.0", TABLE)
    assert str(caught.value) == 'Client sent invalid transport version "2.0"'


@pytest.mark.parametrize("vsn", [["2.0.0"], {"a": "1"}, 2])
def test_a_version_that_is_no_text_is_refused(vsn: object) -> None:
    # Recorded: vsn[a]=1 is answered 403.
    with pytest.raises(InvalidVersion, match=r'^Client sent invalid transport version "'):
        negotiate(vsn, TABLE)


def test_a_warning_stays_one_short_line() -> None:
    for vsn in ("1\n2", "9" * 10_000, "9" * 10_000 + ".0.0", ["\r\n" * 10_000]):
        with pytest.raises(InvalidVersion) as caught:
            negotiate(vsn, TABLE)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


def test_pre_releases_are_ordered_as_semantic_versioning_says() -> None:
    # https://semver.org/spec/v2.0.0.html item 11.4, its example.
    order = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    versions = [*(parse_version(f"1.0.0-{pre}") for pre in order), parse_version("1.0.0")]
    assert sorted(versions) == versions
    assert len(set(versions)) == len(versions)
    assert parse_version("1.0.0+a") == parse_version("1.0.0+b")


@pytest.mark.parametrize(
    ("requirement", "accepted", "refused"),
    [
        # Elixir's `Version` documentation: what `~>` stands for.
        ("~> 2.0.0", ["2.0.0", "2.0.99"], ["2.1.0", "1.9.9", "3.0.0"]),
        ("~>2.1.2", ["2.1.2", "2.1.9"], ["2.1.1", "2.2.0"]),
        ("~> 2.1.3-dev", ["2.1.3-dev", "2.1.3", "2.1.3-e"], ["2.2.0", "2.1.3-a"]),
        ("~> 2.0", ["2.0.0", "2.9.9"], ["3.0.0", "3.0.0-rc.1", "1.0.0"]),
        ("~> 2.1", ["2.1.0", "2.2.0"], ["2.0.9", "3.0.0"]),
        ("2.0.0", ["2.0.0", "2.0.0+b"], ["2.0.1", "2.0.0-rc.1"]),
        ("== 2.0.0", ["2.0.0"], ["2.0.1"]),
        ("!= 2.0.0", ["2.0.1"], ["2.0.0"]),
        ("> 2.0.0", ["2.0.1"], ["2.0.0"]),
        (">= 2.0.0", ["2.0.0"], ["2.0.0-rc.1"]),
        ("< 2.0.0", ["2.0.0-rc.1"], ["2.0.0"]),
        ("<= 2.0.0", ["2.0.0"], ["2.0.1"]),
        (">= 2.0.0 and < 2.2.0", ["2.0.0", "2.1.9"], ["2.2.0", "1.0.0"]),
        (" ~> 1.0.0  or  ~> 3.0.0 ", ["1.0.1", "3.0.1"], ["2.0.0"]),
        ("1.0.0 or > 2.0.0 and < 3.0.0", ["1.0.0", "2.5.0"], ["3.0.0", "2.0.0"]),
    ],
)
def test_a_requirement_accepts(requirement: str, accepted: list[str], refused: list[str]) -> None:
    parsed = parse_requirement(requirement)
    assert [version for version in accepted if not matches(parsed, version)] == []
    assert [version for version in refused if matches(parsed, version)] == []


def test_a_version_that_cannot_be_read_is_no_mere_mismatch() -> None:
    with pytest.raises(InvalidVersion):
        matches(parse_requirement("~> 2.0.0"), "2.0")


@pytest.mark.parametrize(
    "requirement",
    [
        "",
        "~> 2",
        ">= 2.0",
        "2.0",
        "=> 2.0.0",
        "~> 2.0.0 and",
        "and ~> 2.0.0",
        "~> 2.0.0, < 3.0.0",
        "~> 02.0.0",
        "9" * 99,
    ],
)
def test_a_requirement_that_cannot_be_read_is_refused_at_the_mount(requirement: str) -> None:
    with pytest.raises(ConfigurationError, match="accepted are a version") as caught:
        parse_requirement(requirement)
    assert repr(requirement) in str(caught.value)
