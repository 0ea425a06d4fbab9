"""Who a token is taken for, and every way in which one is refused."""

import base64
import json
import string
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulators.auth import REMOVED, AuthSimulator, SigningKey
from tests.web.auth.conftest import House, base64url, claims_of, sign_raw
from web.auth import Caller, NotAuthenticated


async def test_a_good_token_names_its_bearer(house: House) -> None:
    caller = await house.caller(house.auth.mint("anna", "anna@example.com", "admin"))
    assert caller == Caller(user_id="anna", email="anna@example.com", role="admin")
    assert caller.is_admin


@pytest.mark.parametrize("value", [REMOVED, None, ""])
async def test_without_email_and_role_the_bearer_is_a_user_without_address(house: House, value: Any) -> None:
    # Absent and null both mean absent; the mint's own parameters cannot say so.
    claims = claims_of(house.auth)
    if value is not REMOVED:
        claims |= {"email": value, "role": value}
    caller = await house.caller(house.signed(claims))
    assert caller == Caller(user_id="anna", email="", role="user")
    assert not caller.is_admin


@pytest.mark.parametrize("role", ["Admin", "admin ", "administrator", "user"])
async def test_only_the_role_admin_itself_is_an_admin(house: House, role: str) -> None:
    assert not (await house.caller(house.auth.mint("anna", role=role))).is_admin


def test_a_caller_in_a_log_shows_no_address() -> None:
    assert "example.com" not in repr(Caller(user_id="anna", email="anna@example.com", role="user"))


# The Authorization header


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   ", "  Bearer "])
async def test_the_scheme_is_read_in_any_case_and_with_any_spaces(house: House, scheme: str) -> None:
    token = house.auth.mint("anna")
    assert (await house.verifier.verify(f"{scheme}{token}  ")).user_id == "anna"


async def test_a_request_without_the_header_is_told_that_it_is_missing(house: House) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        await house.verifier.verify(None)
    assert refused.value.reason == "missing_header"
    assert refused.value.message == "Missing or invalid Authorization header"


@pytest.mark.parametrize("before", ["", "Basic ", "Bearer", "Bearer\t", "Bearer: ", "Token Bearer "])
async def test_a_good_token_under_another_scheme_is_a_bad_header(house: House, before: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        await house.verifier.verify(before + house.auth.mint("anna"))
    assert refused.value.reason == "malformed_header"
    assert refused.value.message == "Missing or invalid Authorization header"


@pytest.mark.parametrize("header", ["", " ", "Bearer", "Bearer ", "Bearer    "])
async def test_a_header_without_a_token_is_a_bad_header(house: House, header: str) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        await house.verifier.verify(header)
    assert refused.value.reason == "malformed_header"


async def test_a_huge_token_is_refused_unread_even_when_it_is_signed(house: House) -> None:
    assert await house.refusal(house.auth.mint("anna", padding="x" * 8190)) == "too_large"
    assert house.auth.jwks_fetches == 0


async def test_a_token_as_long_as_a_header_may_be_is_accepted(house: House) -> None:
    assert (await house.caller(house.auth.mint("anna", padding="x" * 5000))).user_id == "anna"


# The token's form


async def test_a_token_has_three_segments_and_nothing_around_or_between(house: House) -> None:
    token = house.auth.mint("anna")
    header, payload, signature = token.split(".")
    spoiled = [
        f"{token}.{signature}",
        f".{token}",
        f"{token}.",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}..{signature}",
        f"{header}. {payload}.{signature}",
        f"{token} {token}",
        f"{token},{token}",
        f"{token}\n",
        f"{token}\t",
        f"{token}\0",
        f'"{token}"',
        f"{token}é",
        "x",
        "...",
        "\udcff\ud800",
    ]
    assert set(await house.reasons(spoiled)) == {"malformed_token"}


async def test_a_segment_padded_with_equals_signs_is_a_second_spelling_and_refused(house: House) -> None:
    header, payload, signature = house.auth.mint("anna").split(".")
    assert await house.refusal(f"{header}.{payload}.{signature}==") == "malformed_token"


async def test_a_signature_whose_unused_last_bits_are_set_is_refused(house: House) -> None:
    token = house.auth.mint("anna")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    other_spelling = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    signatures = [base64.urlsafe_b64decode(t.rpartition(".")[2] + "==") for t in (token, other_spelling)]
    assert signatures[0] == signatures[1]
    assert await house.refusal(other_spelling) == "malformed_token"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'"EdDSA"',
        b'{"alg":"EdDSA"',
        b"\xff\xfe",
        b'{"alg":"EdDSA","kid":"\\ud800"}',
        b'{"kid":"k"}',
        b'{"alg":"EdDSA"}',
        b'{"alg":null,"kid":"k"}',
        b'{"alg":["EdDSA"],"kid":"k"}',
        b'{"alg":"EdDSA","kid":"k","typ":1}',
    ],
)
async def test_a_malformed_header_is_refused_without_asking_for_keys(house: House, header: bytes) -> None:
    token = sign_raw(house.auth.signing_key, header, claims_of(house.auth))
    assert await house.refusal(token) == "malformed_token"
    assert house.auth.jwks_fetches == 0


async def test_a_header_nested_until_the_reader_runs_out_of_stack_is_refused(house: House) -> None:
    kid = house.auth.signing_key.kid
    header = f'{{"alg":"EdDSA","kid":"{kid}","x":{"[" * 2500}{"]" * 2500}}}'.encode()
    assert await house.refusal(sign_raw(house.auth.signing_key, header, b"{}")) == "malformed_token"


# The algorithm and the signature


async def test_an_unsigned_token_is_refused(house: House) -> None:
    forged = house.auth.forge_unsigned("anna")
    assert await house.refusal(forged) == "malformed_token"
    # With something in the place of the signature only the algorithm is left to refuse it.
    assert await house.refusal(f"{forged}AAAA") == "wrong_algorithm"


@pytest.mark.parametrize("algorithm", ["none", "None", "eddsa", "EDDSA", "Ed25519", "ES256", "", "EdDSA "])
async def test_a_good_signature_under_another_algorithms_name_is_refused(
    house: House, algorithm: str
) -> None:
    token = house.signed(claims_of(house.auth), alg=algorithm)
    assert await house.refusal(token) == "wrong_algorithm"


async def test_a_token_signed_with_the_public_key_as_a_shared_secret_is_refused(house: House) -> None:
    public = house.auth.signing_key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signer = jwt.PyJWS()
    # PyJWT refuses to use PEM as an HMAC secret; a forger's library does not.
    signer.get_algorithm_by_name("HS256").prepare_key = lambda key: key  # type: ignore[method-assign]
    payload = json.dumps(claims_of(house.auth)).encode()
    forged = [house.auth.forge_with_public_key("anna")]
    forged += [
        signer.encode(payload, secret, algorithm="HS256", headers={"kid": house.auth.signing_key.kid})
        for secret in (pem, base64url(public.public_bytes_raw()) + b"\0" * 32)
    ]
    assert await house.reasons(forged) == ["wrong_algorithm"] * 3


async def test_tokens_signed_with_other_kinds_of_keys_are_refused(house: House) -> None:
    payload = json.dumps(claims_of(house.auth)).encode()
    headers = {"kid": house.auth.signing_key.kid}
    forged = [
        jwt.PyJWS().encode(payload, rsa.generate_private_key(65537, 2048), "RS256", headers),
        jwt.PyJWS().encode(payload, ec.generate_private_key(ec.SECP256R1()), "ES256", headers),
    ]
    assert await house.reasons(forged) == ["wrong_algorithm"] * 2


async def test_a_strangers_signature_under_a_known_kid_is_refused(house: House) -> None:
    stranger = SigningKey.generate()
    token = house.auth.mint("anna", key=stranger, header={"kid": house.auth.signing_key.kid})
    assert await house.refusal(token) == "bad_signature"


async def test_a_token_changed_anywhere_is_refused(house: House) -> None:
    token = house.auth.mint("anna", role="user")
    header, payload, signature = token.split(".")
    promoted = base64url(base64.urlsafe_b64decode(payload + "==").replace(b'"user"', b'"admin"')).decode()
    kid = house.auth.signing_key.kid
    retitled = base64url(json.dumps({"alg": "EdDSA", "kid": kid}).encode()).decode()
    other_signature = house.auth.mint("berta").rpartition(".")[2]
    tampered = [
        f"{header}.{promoted}.{signature}",
        f"{retitled}.{payload}.{signature}",
        f"{header}.{payload}.{other_signature}",
        f"{header}.{payload}.{'A' * 86}",
        f"{header}.{payload}.AAAA",
        f"{header}.{payload}.{base64url(bytes(4000)).decode()}",
    ]
    assert await house.reasons(tampered) == ["bad_signature"] * 6


# What a header may not do


async def test_a_key_that_the_token_brings_along_is_not_used(house: House) -> None:
    stranger = SigningKey.generate()
    header = {"jwk": stranger.public_jwk(), "kid": house.auth.signing_key.kid}
    assert await house.refusal(house.auth.mint("anna", key=stranger, header=header)) == "bad_signature"


async def test_an_address_that_the_token_names_is_not_asked(house: House) -> None:
    async with AuthSimulator(issuer=house.auth.url, now=house.unix).running() as stranger:
        address = f"{stranger.url}/api/auth/jwks"
        tokens = [stranger.mint("anna", header={field: address}) for field in ("jku", "x5u", "kid")]
        assert await house.reasons(tokens) == ["unknown_key"] * 3
        assert stranger.jwks_fetches == 0


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], None, "exp"])
async def test_a_header_with_critical_fields_is_refused(house: House, crit: Any) -> None:
    token = house.signed(claims_of(house.auth), crit=crit, exp=1)
    assert await house.refusal(token) == "unsupported_header"


async def test_an_unencoded_payload_is_refused(house: House) -> None:
    assert await house.refusal(house.signed(claims_of(house.auth), b64=False)) == "malformed_token"


@pytest.mark.parametrize("typ", ["logout+jwt", "dpop+jwt", "JWE", "jwt jwt"])
async def test_a_token_made_for_something_else_is_refused(house: House, typ: str) -> None:
    assert await house.refusal(house.auth.mint("anna", header={"typ": typ})) == "unsupported_header"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt"])
async def test_the_usual_types_are_accepted(house: House, typ: str) -> None:
    assert await house.caller(house.auth.mint("anna", header={"typ": typ}))


# The kid


@pytest.mark.parametrize(
    "kid", ["other", "../../../dev/null", "/etc/passwd", "file:///dev/null", "' OR 1=1 --", "é\u0000", "*"]
)
async def test_a_kid_is_a_name_and_nothing_more(house: House, kid: str) -> None:
    assert await house.refusal(house.auth.mint("anna", header={"kid": kid})) == "unknown_key"
    assert house.auth.jwks_fetches == 1


@pytest.mark.parametrize("kid", ["", "k" * 129, "k" * 3000])
async def test_a_kid_that_no_key_can_have_is_not_asked_for(house: House, kid: str) -> None:
    assert await house.refusal(house.auth.mint("anna", header={"kid": kid})) == "unknown_key"
    assert house.auth.jwks_fetches == 0


@pytest.mark.parametrize("kid", [1, None, True, ["k"], {"kid": "k"}, 1.5])
async def test_a_kid_that_is_no_text_is_refused(house: House, kid: Any) -> None:
    token = house.signed(claims_of(house.auth), kid=kid)
    assert await house.refusal(token) == "malformed_token"
    assert house.auth.jwks_fetches == 0


# Issuer and audience


async def test_another_issuer_is_refused(house: House) -> None:
    issuer = house.auth.url
    for other in ("https://evil.example", f"{issuer}/", f"{issuer}.evil.example", issuer[:-1], ""):
        assert await house.refusal(house.auth.mint("anna", iss=other)) == "wrong_issuer"


async def test_an_issuer_that_is_absent_or_no_text_is_refused(house: House) -> None:
    for other in (REMOVED, None, 1, [house.auth.url]):
        assert await house.refusal(house.auth.mint("anna", iss=other)) == "malformed_claims"


async def test_each_of_several_issuers_is_accepted_and_no_other(house: House) -> None:
    house.open(house.auth.url, JWT_ISSUER="https://auth.example, https://old.example")
    for issuer in ("https://auth.example", "https://old.example"):
        assert await house.caller(house.auth.mint("anna", iss=issuer))
    assert await house.refusal(house.auth.mint("anna", iss=house.auth.url)) == "wrong_issuer"


async def test_another_audience_is_refused(house: House) -> None:
    for other in ("other", "mana-admin", "man", "a mana b", "Mana", "", [], ["other", "mana-admin"]):
        assert await house.refusal(house.auth.mint("anna", aud=other)) == "wrong_audience"


async def test_an_audience_that_is_absent_or_no_text_is_refused(house: House) -> None:
    for other in (REMOVED, None, 1, {"mana": 1}, ["mana", 1]):
        assert await house.refusal(house.auth.mint("anna", aud=other)) == "malformed_claims"


async def test_a_list_of_audiences_with_ours_is_accepted(house: House) -> None:
    assert await house.caller(house.auth.mint("anna", aud=["other", "mana"]))


async def test_the_audience_is_the_one_configured(house: House) -> None:
    house.open(house.auth.url, JWT_AUDIENCE="credits")
    assert await house.caller(house.auth.mint("anna", aud="credits"))
    assert await house.refusal(house.auth.mint("anna", aud="mana")) == "wrong_audience"


# Time


async def test_a_token_ends_at_its_expiry_to_the_second(house: House) -> None:
    token = house.auth.mint("anna", exp=house.unix() + 60)
    house.unix.pass_by(59.9)
    assert await house.caller(token)
    house.open(house.auth.url)  # forget that it was verified
    house.unix.pass_by(0.1)
    assert await house.refusal(token) == "expired"


async def test_a_token_without_a_numeric_expiry_is_refused(house: House) -> None:
    tomorrow = house.unix() + 86_400
    hostile: list[Any] = [REMOVED, None, str(tomorrow), True, [tomorrow], {}, "never", 10**400]
    for exp in hostile:
        assert await house.refusal(house.auth.mint("anna", exp=exp)) == "malformed_claims"
    for number in (b"NaN", b"Infinity", b"1e999"):
        payload = json.dumps(claims_of(house.auth, exp="?")).encode().replace(b'"?"', number)
        assert await house.refusal(house.signed(payload)) == "malformed_claims"


async def test_a_token_is_not_valid_before_its_time(house: House) -> None:
    token = house.auth.mint("anna", nbf=house.unix() + 60)
    assert await house.refusal(token) == "not_yet_valid"
    house.unix.pass_by(54)
    assert await house.refusal(token) == "not_yet_valid"
    house.unix.pass_by(1)  # five seconds are left to clocks that differ
    assert await house.caller(token)


async def test_a_start_that_is_no_number_is_refused(house: House) -> None:
    for nbf in ("0", True, [0]):
        assert await house.refusal(house.auth.mint("anna", nbf=nbf)) == "malformed_claims"


@pytest.mark.parametrize("iat", [REMOVED, None, 4_000_000_000, "yesterday"])
async def test_the_time_of_issue_is_not_looked_at(house: House, iat: Any) -> None:
    assert await house.caller(house.auth.mint("anna", iat=iat))


# The bearer


@pytest.mark.parametrize("sub", [REMOVED, None, "", 1, True, ["anna"], {}, "a\0b", "x" * 256])
async def test_a_subject_that_cannot_be_a_user_id_is_refused(house: House, sub: Any) -> None:
    claims = {name: value for name, value in claims_of(house.auth, sub=sub).items() if value is not REMOVED}
    assert await house.refusal(house.signed(claims)) == "malformed_claims"


@pytest.mark.parametrize("sub", ["x" * 255, "ü" * 255, "a/b?c", " ", "💶"])
async def test_any_other_text_is_a_user_id(house: House, sub: str) -> None:
    assert (await house.caller(house.auth.mint(sub))).user_id == sub


async def test_half_a_surrogate_pair_which_no_database_stores_is_refused(house: House) -> None:
    assert await house.refusal(house.auth.mint("a\ud800b")) == "malformed_claims"


@pytest.mark.parametrize(
    "claims", [{"email": 1}, {"email": ["a@example.com"]}, {"email": "a\0b"}, {"email": "x" * 321}]
)
async def test_an_email_that_cannot_be_one_is_refused(house: House, claims: dict[str, Any]) -> None:
    assert await house.refusal(house.signed(claims_of(house.auth, **claims))) == "malformed_claims"


@pytest.mark.parametrize("role", [1, True, ["admin"], {"admin": True}])
async def test_a_role_that_is_no_text_is_refused(house: House, role: Any) -> None:
    assert await house.refusal(house.signed(claims_of(house.auth, role=role))) == "malformed_claims"


@pytest.mark.parametrize(
    "payload", [b"[]", b"null", b"x", b"\xff", b'{"sub":"anna"', b'{"x":' + b"[" * 2500 + b"]" * 2500 + b"}"]
)
async def test_a_payload_that_is_no_object_is_refused(house: House, payload: bytes) -> None:
    assert await house.refusal(house.signed(payload)) == "malformed_claims"


async def test_a_refusal_tells_nothing_of_the_token(house: House) -> None:
    token = house.auth.mint("anna", "anna@example.com", iss="https://evil.example")
    with pytest.raises(NotAuthenticated) as refused:
        await house.caller(token)
    assert repr(refused.value) == "NotAuthenticated('wrong_issuer')"
    assert refused.value.__cause__ is None
