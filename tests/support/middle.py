"""A man in the middle, between a site's node and its trainer: he keeps, alters and replays."""

import json
from collections.abc import Callable
from dataclasses import replace

from fedloom.client.answering import SiteAnswers, Told
from fedloom.shared.wire.envelope import Envelope

Change = Callable[[Envelope], Envelope]


class Middle:
    """Answers round 1 as the site does, and the others by what he has: its old answers."""

    def __init__(self, site: SiteAnswers) -> None:
        self._site = site
        self._kept: Envelope | None = None

    def hello(self, asked: Envelope) -> Envelope:
        return self._site.hello(asked)

    def train(self, asked: Envelope, told: Told) -> Envelope:
        number = json.loads(asked.frame.header)["round"]
        if self._kept is None:
            self._kept = self._site.train(asked, told)
            return self._kept
        if number == 2:
            return self._kept
        header = self._kept.frame.header.replace('"round":1', f'"round":{number}')
        return replace(self._kept, frame=replace(self._kept.frame, header=header))
