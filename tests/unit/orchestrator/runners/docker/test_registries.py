"""Which credentials go to which registry."""

from __future__ import annotations

import base64

import pytest

from rune.errors import InvalidArgument
from rune.orchestrator.runners.base import Credentials
from rune.orchestrator.runners.docker import registries


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("nginx", "index.docker.io"),
        ("library/nginx:1", "index.docker.io"),
        ("docker.io/library/nginx", "index.docker.io"),
        ("ghcr.io/a/b@sha256:0", "ghcr.io"),
        ("LOCALHOST/a", "index.docker.io"),
        ("localhost/a", "localhost"),
        ("registry:5000/a", "registry:5000"),
    ],
)
def test_the_registry_of_an_image_is_its_first_part_if_that_is_a_host(image: str, host: str) -> None:
    assert registries.host_of(image) == host


@pytest.mark.parametrize(
    ("pattern", "image", "expected"),
    [
        ("ghcr.io", "ghcr.io/a", True),
        ("GHCR.io", "ghcr.io/a", True),
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "nginx", True),
        ("*.example.com", "eu.example.com/a", True),
        ("*.example.com", "example.com/a", False),
        ("example.com", "eu.example.com/a", False),
        ("ghcr.io", "ghcr.io.evil.com/a", False),
    ],
)
def test_a_pattern_means_a_host_or_all_below_it(pattern: str, image: str, *, expected: bool) -> None:
    assert registries.matches(pattern, image) is expected


def test_a_docker_config_is_read_for_the_registry_of_the_image_alone() -> None:
    text = (
        '{"auths": {"a.io": {"auth": "dTpwOnE="}, "b.io": {"identitytoken": "t"}, "c.io": {"username": "x"}}}'
    )
    read = registries.dockerconfigjson
    assert read(text, "a.io/i") == Credentials(username="u", password="p:q", server="a.io")
    assert read(text, "b.io/i") == Credentials(identity_token="t", server="b.io")
    assert read(text, "c.io/i") == Credentials(username="x", server="c.io")
    assert read(text, "d.io/i") is None


@pytest.mark.parametrize("text", ["hunter2", '{"auths": {"a.io": {"auth": "hunter2!"}}}', '{"auths": 7}'])
def test_a_broken_docker_config_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        registries.dockerconfigjson(text, "a.io/i")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_credentials_are_not_shown() -> None:
    shown = Credentials(username="u", password="hunter2", identity_token="hunter3", server="a.io")
    assert "hunter" not in f"{shown!r} {shown} {shown.__rich_repr__()}"


def test_a_token_of_amazons_registries_is_a_name_and_a_password() -> None:
    value = base64.b64encode(b"AWS:p:w").decode()
    assert registries.ecr(value, server="1.dkr.ecr.eu-west-1.amazonaws.com") == Credentials(
        username="AWS", password="p:w", server="1.dkr.ecr.eu-west-1.amazonaws.com"
    )


@pytest.mark.parametrize("value", ["", "p:w", "QVdT", "QVdTOg==", "/w=="])
def test_what_is_no_such_token_is_refused_without_being_told(value: str) -> None:
    with pytest.raises(InvalidArgument, match="GetAuthorizationToken") as refused:
        registries.ecr(value)
    assert not value or value not in refused.value.message
