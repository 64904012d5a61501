"""Texts that are cut: within the limit, and what is missing is counted to the byte."""

from __future__ import annotations

import random

from dagbok.text import MARK, cut, cut_middle

LETTERS = ["a", "(", "7", " ", "å", "…", "\n", "😀"]


def test_a_text_within_the_limit_stays_as_it_is() -> None:
    assert cut("åäö", 6) == "åäö"
    assert cut_middle("", 0) == ""


def test_what_has_no_form_in_utf_8_is_marked() -> None:
    assert cut("a\udc80b", 10) == "a?b"


def test_however_often_it_is_cut_what_is_left_and_what_is_said_are_the_whole() -> None:
    chance = random.Random(7)
    for round in range(3_000):
        whole = "".join(chance.choices(LETTERS, k=chance.randrange(400)))
        text = whole
        for _ in range(3):
            most = chance.randrange(60, 400)
            text = cut(text, most) if round % 2 else text
            assert len(text.encode()) <= most or not round % 2
        if not round % 2:
            most = chance.randrange(80, 400)
            text = cut_middle(whole, most)
            assert len(text.encode()) <= most
        marks = list(MARK.finditer(text))
        missing = sum(int(mark[1]) for mark in marks)
        words = sum(len(mark[0].encode()) + (0 if round % 2 else 2) for mark in marks)
        assert len(text.encode()) - words + missing == len(whole.encode())
