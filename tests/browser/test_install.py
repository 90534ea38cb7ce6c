"""The page as an app of its own: its manifest, its icons, the colour of the browser's bars."""

import json
import re
import struct
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Page, expect

from tests.browser.page import button
from tests.process import Server


def colour(page: Page) -> list[str]:
    colours: list[str] = page.evaluate(
        """[...document.querySelectorAll('meta[name=theme-color]')]
            .filter((meta) => matchMedia(meta.media).matches).map((meta) => meta.content)"""
    )
    return colours


def test_the_browser_accepts_the_manifest(page: Page, server: Server) -> None:
    answer = page.context.new_cdp_session(page).send("Page.getAppManifest")
    assert answer["errors"] == []
    assert answer["url"] == f"{server.url}/assets/manifest.webmanifest"
    manifest = json.loads(answer["data"])
    assert manifest["name"] == "Chatkeep"
    # Wherever a proxy puts the page: the app begins where the page is.
    below = "https://example.com/deep/down/assets/manifest.webmanifest"
    for key in ("start_url", "scope"):
        assert urljoin(answer["url"], manifest[key]) == f"{server.url}/"
        assert urljoin(below, manifest[key]) == "https://example.com/deep/down/"


def test_each_icon_is_as_the_manifest_describes_it(page: Page, server: Server) -> None:
    with server.client() as client:
        answer = client.get("/assets/manifest.webmanifest")
        assert answer.headers["content-type"] == "application/manifest+json"
        icons = answer.json()["icons"]
        for icon in icons:
            picture = client.get(f"/assets/{icon['src']}")
            assert picture.headers["content-type"] == icon["type"]
            if icon["type"] == "image/png":
                width, height = struct.unpack(">II", picture.content[16:24])
                assert icon["sizes"] == f"{width}x{height}"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in icons}
    assert [icon["sizes"] for icon in icons if icon.get("purpose") == "maskable"] == ["512x512"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_browsers_bars_have_the_colour_of_the_page(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="light" if scheme == "light" else "dark")

    def of_page() -> str:
        rgb: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", rgb)[:3])

    assert colour(page) == [of_page()]
    button(page, "More").click()
    for name in ("Light", "Dark", "System"):
        page.get_by_role("menuitemradio", name=name).click()
        expect(page.get_by_role("menuitemradio", name=name)).to_be_checked()
        assert colour(page) == [of_page()]
    page.get_by_role("menuitemradio", name="Dark").click()
    page.reload()
    assert colour(page) == [of_page()] == ["#1a1a18"]
