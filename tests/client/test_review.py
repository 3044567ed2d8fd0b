"""`review`: decisions by keyboard end in the file, whatever crashes; nobody else's are overwritten."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
import uvicorn
from browser import Browser
from hostile import hostile_titles
from synthetic import make_products, write_issues, write_run

from components.client.review.decisions import DecidedElsewhere, DecisionsFile
from components.client.review.queue import Queue, read_queue
from components.client.review.server import Session, review_app
from components.core.errors import InputError
from components.data.decisions import Decision, read_decisions
from components.data.products import read_products
from components.data.tables.read import read_table
from components.lifecycle.detail import COLUMNS
from components.lifecycle.queue import write_queue
from components.serving.listener import listening


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What of a run's folder the page reads."""
    names = {"metadata": {"class_names": {"10": "Books"}}, "titles": hostile_titles("http://127.0.0.1:9")}
    run = write_run(tmp_path / "made", make_products(**names))  # type: ignore[arg-type]
    write_issues(read_products(run.products), run.label_issues, count=14)
    folder = tmp_path / "run"
    places = {
        run.products: "artifacts/r/denoise/cleaned",
        run.images: "artifacts/r/preprocess/images",
        run.label_issues / "label_issues.tsv": "label_issues.tsv",
        run.new_products: "artifacts/r/preprocess-new/new_products",
    }
    for made, place in places.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, folder / place) if made.is_dir() else shutil.copyfile(made, folder / place)
    shutil.copytree(run.images, folder / "artifacts/r/preprocess-new/new_images")
    new = read_products(run.new_products).table
    answers = {"product_id": new["product_id"], "code": "20", "probability": "0.4", "flag": "no image"}
    answers["text"] = "10"
    detail = pd.DataFrame(answers, columns=COLUMNS, dtype=object).fillna("")
    write_queue(folder / "review_queue.tsv", new, detail, np.array([3, 1]))
    return folder


class Page:
    """The page of a run's folder, served from a thread."""

    def __init__(self, folder: Path) -> None:
        self.queue, self.path = read_queue(folder), folder / "review" / "decisions.tsv"
        file = DecisionsFile(str(self.path), seed=self.queue.decided, scratch=folder)
        app = review_app(Session(self.queue, file), command="run")
        self._server, socket = (
            uvicorn.Server(uvicorn.Config(app, log_level="warning")),
            listening("127.0.0.1", 0),
        )
        self.address = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [socket]})
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def post(self, place: str, **form: str) -> requests.Response:
        return requests.post(self.address + place, data=form, timeout=30)

    @property
    def decided(self) -> dict[str, Decision]:
        return {each.product_id: each for each in read_decisions(read_table(self.path)).made}


@pytest.fixture
def page(folder: Path) -> Iterator[Page]:
    running = Page(folder)
    yield running
    running.stop()


def press(browser: Browser, key: str, *, text: str = "") -> None:
    """Presses a key and waits for the page that it leads to."""
    browser.evaluate("window.left = true")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text or key)
    browser.call("Input.dispatchKeyEvent", type="keyUp", key=key)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if browser.evaluate("document.readyState === 'complete' && !window.left"):
            return
        time.sleep(0.02)
    raise TimeoutError(key)


def open_page(browser: Browser, address: str) -> None:
    browser.call("Page.navigate", url=address)
    while not browser.evaluate("document.readyState === 'complete' && location.href.startsWith('http')"):
        time.sleep(0.05)


def test_ten_decisions_by_keyboard_and_a_crash_in_the_middle_end_in_the_file(folder: Path, browser: Browser):
    page = Page(folder)
    questions = page.queue.questions
    browser.forget()
    open_page(browser, page.address)
    for key in ("a", "k", "d", "s", "a", "k"):  # the fourth is skipped
        press(browser, key)
    page.stop()  # five decisions are made
    page = Page(folder)
    open_page(browser, page.address)
    for key in ("a", "a", "u", "k", "d", "k", "a"):  # the second is taken back
        press(browser, key)
    browser.evaluate("document.querySelector('[data-key=c]').focus()")
    browser.call("Input.insertText", text="50")
    press(browser, "Enter", text="\r")
    assert browser.dialogs == []
    assert [line for line in browser.console if "404" not in line] == []
    page.stop()
    choices = [
        page.decided[each.product_id].choice if each.product_id in page.decided else "" for each in questions
    ]
    first = [
        "correct",
        "keep",
        "drop",
        "correct",
        "correct",
        "keep",
    ]  # the skipped one comes again, and first
    assert choices[:6] == first
    assert choices[6:11] == ["keep", "drop", "keep", "correct", "correct"]
    assert len(page.decided) == 11
    assert page.decided[questions[10].product_id].code == "50"
    assert page.decided[questions[0].product_id] == Decision(
        questions[0].product_id, "correct", questions[0].suggested, questions[0].given, line=2
    )


def test_every_page_shows_a_catalogs_texts_as_text(page: Page):
    for number, question in enumerate(page.queue.questions):
        shown = requests.get(f"{page.address}/question/{number}", timeout=30)
        assert shown.status_code == 200
        assert "<script>" not in shown.text
        assert ("Until then the decision waits" in shown.text) == (question.part == "new")
        assert "script-src 'self'" in shown.headers["content-security-policy"]


def test_pictures_are_served_by_row_and_nothing_else_is(page: Page):
    pictured = page.queue.parts["labeled"].products.table["image"].notna().to_numpy()
    answer = requests.get(f"{page.address}/picture/labeled/{pictured.argmax()}", timeout=30)
    assert answer.content.startswith(b"\xff\xd8")
    for place in ("/picture/labeled/99999", "/picture/none/0", "/decisions.py", "/question/99"):
        assert requests.get(page.address + place, timeout=30).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://shop.example"},
        {"Host": "shop.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ],
    ids=["origin", "host", "fetch site", "sandboxed"],
)
def test_other_sites_are_refused(page: Page, headers: dict[str, str]):
    answer = requests.post(f"{page.address}/decide/0", data={"choice": "keep"}, headers=headers, timeout=30)
    assert answer.status_code == 403
    assert not page.path.exists()


@pytest.mark.parametrize(
    ("form", "says"),
    [({"choice": "burn"}, "is no decision"), ({"choice": "correct", "code": "999"}, "none of the catalog")],
)
def test_a_decision_that_is_none_is_refused_and_not_written(page: Page, form: dict[str, str], says: str):
    answer = page.post("/decide/0", **form)
    assert answer.status_code == 422
    assert says in answer.text
    assert not page.path.exists()
    assert page.post("/decide/0", choice="keep", code="x" * 20_000).status_code == 413


def test_two_people_at_once_are_told_and_nothing_is_lost(folder: Path):
    one, two = Page(folder), Page(folder)
    first, second = (question.product_id for question in one.queue.questions[:2])
    assert one.post("/decide/0", choice="keep").status_code == 200
    answer = two.post("/decide/1", choice="drop")
    assert answer.status_code == 409
    assert "Somebody else decided meanwhile" in answer.text
    assert list(two.decided) == [first]
    assert two.post("/decide/1", choice="drop").status_code == 200
    assert list(two.decided) == [first, second]
    one.stop()
    two.stop()


def test_what_was_decided_before_the_run_is_in_the_file_too(folder: Path, tmp_path: Path):
    seed = [Decision("7", "drop", "", "10")]
    file = DecisionsFile(str(tmp_path / "more.tsv"), seed=seed, scratch=folder)
    file.decide(Decision("=8", "correct", "0010", ""), "=1+1")
    made = read_decisions(read_table(tmp_path / "more.tsv")).made
    assert [(each.product_id, each.code) for each in made] == [("7", ""), ("=8", "0010")]
    assert "\t'=1+1\t" in (tmp_path / "more.tsv").read_text(encoding="utf-8")
    file.withdraw("=8")
    assert list(file.made) == ["7"]


def test_decisions_go_to_a_bucket_by_conditional_write(folder: Path, s3_store: str):
    place = f"{s3_store}/review/decisions.tsv"
    one, two = (DecisionsFile(place, seed=[], scratch=folder / name) for name in ("one", "two"))
    one.decide(Decision("1", "keep", "", "10"), "")
    with pytest.raises(DecidedElsewhere):
        two.decide(Decision("2", "keep", "", "10"), "")
    two.decide(Decision("2", "keep", "", "10"), "")
    one.read()
    assert list(one.made) == ["1", "2"]


def test_new_products_come_after_the_labels_and_have_none_to_keep(page: Page, folder: Path):
    number = len(page.queue.questions) - 2
    asked = page.queue.questions[number:]
    assert [(each.part, each.given, each.suggested) for each in asked] == [("new", "", "20")] * 2
    assert (
        "40 % sure; text: 10 Books; no image"
        in requests.get(f"{page.address}/question/{number}", timeout=30).text
    )
    for choice in ("keep", "drop"):
        assert page.post(f"/decide/{number}", choice=choice).status_code == 422
    page.post(f"/decide/{number}", choice="correct", code="30")
    assert page.decided[asked[0].product_id].code == "30"
    assert page.decided[asked[0].product_id].given == ""
    # The list of them is filled in without the page, too.
    lines = (folder / "review_queue.tsv").read_text(encoding="utf-8").splitlines()
    place = lines[0].split("\t").index("decision")
    cells = lines[1].split("\t")
    filled = [lines[0], "\t".join([*cells[:place], "correct", *cells[place + 1 :]]), *lines[2:]]
    (folder / "filled.tsv").write_text("\n".join(filled) + "\n", encoding="utf-8")
    [decision] = read_decisions(read_table(folder / "filled.tsv")).made
    assert (decision.product_id, decision.code, decision.given) == (asked[0].product_id, "20", "")


def test_a_file_of_another_kind_is_refused(folder: Path, tmp_path: Path):
    (tmp_path / "other.tsv").write_text("name\tprice\na\t1\n")
    with pytest.raises(InputError, match="name one of its own"):
        DecisionsFile(str(tmp_path / "other.tsv"), seed=[], scratch=folder)
    with pytest.raises(InputError, match=r"expected the name of a \.tsv file"):
        DecisionsFile(str(tmp_path / "other.xlsx"), seed=[], scratch=folder)


def test_a_list_of_issues_is_not_rewritten(folder: Path):
    with pytest.raises(InputError, match="the page rewrites its file"):
        DecisionsFile(str(folder / "label_issues.tsv"), seed=[], scratch=folder / "scratch")


def test_a_run_that_trained_nothing_asks_about_its_new_products(folder: Path):
    artifacts = folder / "artifacts" / "r"
    (artifacts / "denoise/cleaned").rename(artifacts / "preprocess/products")
    (folder / "label_issues.tsv").unlink()
    assert [each.part for each in read_queue(folder).questions] == ["new", "new"]


def test_a_list_of_another_run_is_named(folder: Path):
    path = folder / "label_issues.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], "999" + lines[1]]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"label_issues.tsv: product '999.* is none of the run's"):
        read_queue(folder)


def test_a_folder_without_its_artifacts_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="its artifacts lack the products or their pictures"):
        read_queue(tmp_path)


def test_typical_products_are_of_the_class_and_not_in_doubt(folder: Path):
    queue: Queue = read_queue(folder)
    doubted = {question.row for question in queue.questions}
    table = queue.parts["labeled"].products.table
    for code in queue.classes:
        rows = [one["row"] for one in queue.typical(code)]
        assert rows
        assert not doubted & set(rows)
        assert set(table["code"].iloc[rows]) == {code}
