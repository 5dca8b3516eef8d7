"""Where Django itself puts what a request or a view has: sessions, messages, forms, the cache, pages of errors."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from tests.planted.django_service import django_acts
from tests.planted.planter import Planter

__all__ = ["plant"]

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def plant(planter: Planter, port: int, reveal: Callable[[list[str]], object]) -> None:
    """Plant a secret in each of these places, one request each."""
    from django import forms
    from django.contrib import messages
    from django.core.cache import cache
    from django.core.exceptions import ImproperlyConfigured, ValidationError
    from django.http import HttpResponse, JsonResponse
    from django.middleware.csrf import get_token
    from django.template import Context, Template

    class Login(forms.Form):  # type: ignore[misc, unused-ignore]
        user = forms.CharField()
        password = forms.CharField(widget=forms.PasswordInput(render_value=True), max_length=3)

    def ask(
        place: str, view: Callable[[Any], Any], headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> list[tuple[str, str]]:
        django_acts[place] = view
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET" if body is None else "POST", "/a", body, {"X-Act": place, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.getheaders()

    def scene(place: str, told: Callable[[list[str]], object] = lambda _: None) -> str:
        planter.scene(f"django {place}", told)
        return place

    def rendered(form: Any) -> Any:
        form.is_valid()
        return HttpResponse(Template("<form>{{ form }}</form>").render(Context({"form": form})))

    place = scene("session")
    secret = planter.named(place)

    def logs_in(request: Any) -> Any:
        request.session["access_token"] = secret
        request.session["user"] = "ada"
        return JsonResponse({"ok": True})

    cookies = [value.partition(";")[0] for name, value in ask(place, logs_in) if name.lower() == "set-cookie"]
    assert cookies
    ask(place, lambda request: JsonResponse({"n": len(request.session["access_token"])}), {"Cookie": cookies[0]})

    place = scene("message")
    text = planter.form(place, lines=False)

    def notes(request: Any) -> Any:
        messages.info(request, f"of {text}")
        return HttpResponse("")

    ask(place, notes)

    place = scene("csrf")
    ask(
        place,
        lambda request: HttpResponse(f"<input name=csrfmiddlewaretoken value={get_token(request)} id='x'>"),
    )

    for number, kind in enumerate((_FORM, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})):
        place = scene(f"form {number}")
        data = urlencode({"user": "ada", "password": planter.named(place)}).encode()
        ask(place, lambda request: rendered(Login(request.POST)), kind, data)

    place = scene("cache")
    secret = planter.named(place)

    def caches(request: Any) -> Any:
        cache.set("user", {"name": "ada", "token": secret})
        return JsonResponse({"n": len(cache.get("user")["token"])})

    ask(place, caches)
    place = scene("text in the cache")
    told: list[str] = []
    planter.scene(f"django {place}", told.extend)
    is_told = told.__contains__
    for number, text in enumerate((planter.form(place), planter.known(place), planter.known(place, _odd))):

        def caches_text(request: Any, text: str = text) -> Any:
            if is_told(text):
                reveal([text])
            key = f"of:{quote(text)}"
            cache.set(key, [text, 1])
            cache.set("b", b"\0" + text.encode())
            cache.get_many([key, "b"])
            return HttpResponse("")

        ask(f"{place} {number}", caches_text)

    place = scene("json of a cache")
    secret = planter.named(place)
    ask(place, lambda request: HttpResponse(str(cache.set("j", json.dumps({"api_key": secret})))))

    # The page of an error tells of local variables, of settings and of the request.
    for accept in ("text/html", "text/plain"):
        place = scene(f"local variable, {accept}")

        def fails(request: Any, password: str = planter.named(place)) -> Any:
            raise ValueError("no")

        ask(place, fails, {"Accept": accept})
        place = scene(f"request of an error, {accept}")

        def refuses(request: Any) -> Any:
            raise ValidationError({"password": [f"no {request.POST['password']}"]})

        ask(
            place,
            refuses,
            {**_FORM, "Accept": accept},
            urlencode({"password": planter.named(place), "of": planter.form(place)}).encode(),
        )
        place = scene(f"settings, {accept}")
        address = planter.form(place, "address")

        def unset(request: Any, address: str = address) -> Any:
            raise ImproperlyConfigured(f"DATABASE_URL={address!r}")

        ask(place, unset, {"Accept": accept, "Authorization": f"Bearer {planter.named(place)}"})
        place = scene(f"cookie of an error, {accept}")
        ask(place, fails_plainly, {"Accept": accept, "Cookie": f"sessionid={planter.form(place, 'github')}"})


def fails_plainly(request: Any) -> Any:
    """A view that raises."""
    raise KeyError("x")


def _odd(number: int) -> str:
    from tests.planted.secrets import odd

    return odd(number)
