"""Reports: nothing of the catalog but its text reaches them, and a browser shows them in peace."""

import base64
import html
import io
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, check_calm, framed
from hostile import OVERRIDE, SHOUT, SPEAK, ZERO_WIDTH, Listener, hostile_titles
from PIL import Image
from synthetic import Run, make_classifier, make_products, write_issues, write_run

from components.data.image_store import ImageStore, write_image_store
from components.data.probabilities import Classifier, read_classifier, read_classifiers
from components.data.products import Products, read_products
from components.data.tables.findings import Finding
from components.denoise.report import denoise_report
from components.ensemble.report import ensemble_report
from components.evaluate.run import run_evaluate
from components.fusion.report import fusion_report
from components.modeling.cross_fitting import chosen_macro_f1
from components.preprocess.profile.drift import catalog_drift
from components.preprocess.profile.profile import profile_catalog
from components.preprocess.report import preprocess_report
from components.reports.charts import LEFT, RIGHT, WIDTH, histogram
from components.reports.matrix_chart import agreement_chart
from components.reports.page import THUMBNAIL_BYTES, Gallery, plain, read_issues, safe_report
from components.reports.training import training_report

VOID = {"meta", "img", "br", "hr", "link", "input", "base"}
STAGES = ("evaluate", "training", "preprocess", "denoise", "ensemble", "fusion")


def draw_all(
    folder: Path, address: str = "http://localhost:9", *, products: Products | None = None
) -> dict[str, Path]:
    """Every stage's report of a run, by default one whose titles, class names and files mean harm."""
    titles = hostile_titles(address)
    names = {"10": titles[0], "20": titles[1], "30": OVERRIDE + "x", "40": titles[6]}
    metadata = {"class_names": names, "digests": {titles[1]: titles[0]}, "dialect": titles[2]}
    run = write_run(folder, products or make_products(titles=titles, metadata=metadata, test_labels=True))
    if products:
        write_noise(run, products)
    products, images = read_products(run.products), ImageStore(run.images)
    run_evaluate(**run.stages, seed=0, metadata={titles[0]: titles[1]}, results=folder)
    findings = [
        Finding("X_train.tsv", 9, "p9008", "image_truncated", "quarantined", "truncated"),
        Finding("X.tsv", 1, titles[0], "image_missing", "kept", f"no file '{titles[1]}'"),
    ]
    text, image = [read_classifier(path) for path in run.text], [read_classifier(path) for path in run.image]
    curves = [
        {"epoch": n, "loss": 1 / n, "macro_f1": n / 9, "learning_rate": 1e-5, "seconds": 2.5}
        for n in (1, 2, 3)
    ]
    trained = Classifier(
        titles[1], "text", text[0].matrices, {"curves": curves, "config": {"init": titles[0]}}
    )
    members, ensemble = read_classifiers(run.members), read_classifier(run.ensemble)
    metadata = {"members": [member.name for member in members], "leave_one_out_gain": [0.01, -0.01, 0, 0.02]}
    voted = Classifier("vote", "ensemble", ensemble.matrices, metadata)
    profile = profile_catalog(products, images)
    earlier = {**profile, "classes": {**profile["classes"], titles[0]: 40}, "languages": {titles[1]: 240}}
    drift = catalog_drift(profile, earlier, names)
    draws: dict[str, Callable[[], str]] = {
        "training": lambda: training_report(trained, products),
        "preprocess": lambda: preprocess_report(products, profile, findings, drift),
        "denoise": lambda: denoise_report(products, images, read_issues(run.label_issues)),
        "ensemble": lambda: ensemble_report(products, images, members, voted),
        "fusion": lambda: fusion_report(products, text, image, members, read_classifiers(run.feature_level)),
    }
    (folder / "report.html").rename(folder / "evaluate.html")
    for name, draw in draws.items():
        (folder / f"{name}.html").write_text(safe_report(draw), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in STAGES}


def write_noise(run: Run, products: Products) -> None:
    """Pictures that are as large as they can be, and as many label issues as the gallery takes."""
    noise = io.BytesIO()
    Image.effect_noise((112, 112), 120).convert("RGB").save(noise, "JPEG", quality=95)
    keys = [key for key in products.table["image"] if isinstance(key, str)]
    shutil.rmtree(run.images)
    write_image_store(run.images, [(key, 112, 112, noise.getvalue()) for key in keys])
    write_issues(products, run.label_issues, count=150)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    paths = draw_all(tmp_path_factory.mktemp("hostile"))
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items()}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every report of a catalog with 59 classes, long names and titles, and noise for pictures."""
    folder = tmp_path_factory.mktemp("large")
    titles = [f"{'Très longue description du produit ' * 40}{number}" for number in range(700)]
    names = {str(10 * (number + 1)): "Nom de classe interminable " * 8 for number in range(59)}
    return draw_all(folder, products=make_products(1_500, 59, titles=titles, metadata={"class_names": names}))


class Elements(HTMLParser):
    """Collects a page's elements and checks that every one is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.mark.parametrize("stage", STAGES)
def test_a_hostile_catalog_adds_no_element_and_no_handler(reports: dict[str, str], stage: str) -> None:
    assert "could not be drawn" not in reports[stage]
    for tag, attributes in Elements(reports[stage]).elements:
        assert tag not in {"script", "a", "link", "iframe", "object", "embed", "form", "base", "use", "image"}
        assert not [
            name for name in attributes if name.startswith("on") or name in ("href", "srcset", "style")
        ]
        if "src" in attributes:
            assert (attributes["src"] or "").startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("stage", STAGES)
def test_a_template_in_a_title_stays_text_and_nothing_invisible_is_left(
    reports: dict[str, str], stage: str
) -> None:
    page = reports[stage]
    assert not set(page) & {OVERRIDE, ZERO_WIDTH, "\ufeff", "\u2066", "\x00"}
    assert "W" * 200 not in page
    assert "\u0301" * 3 not in page


def test_the_hostile_titles_are_there_as_text(reports: dict[str, str]) -> None:
    assert "{{ 7 * 7 }}" in reports["ensemble"] + reports["denoise"] + reports["evaluate"]
    assert html.escape("<script>document.title=") in reports["denoise"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_report_is_one_small_file_with_a_policy_and_no_script(reports: dict[str, str], stage: str) -> None:
    page = reports[stage]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert len(page.encode()) < 2 * 2**20
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in page
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?[a-z]+:", page.split("</style>")[0])


@pytest.mark.parametrize("stage", STAGES)
def test_a_report_of_many_classes_and_long_titles_stays_under_two_mebibytes(
    large: dict[str, Path], stage: str
) -> None:
    assert "could not be drawn" not in large[stage].read_text(encoding="utf-8")
    assert large[stage].stat().st_size < 2 * 2**20


@pytest.mark.slow
def test_a_report_of_many_classes_and_long_titles_keeps_its_layout(
    browser: Browser, large: dict[str, Path], tmp_path: Path
) -> None:
    check_calm(browser, list(large.values()), tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_a_screen_reader_finds_headings_alternatives_and_table_headers(
    reports: dict[str, str], stage: str
) -> None:
    page = Elements(reports[stage])
    assert page.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    for tag, attributes in page.elements:
        if tag == "img":
            assert attributes.get("alt")
        if tag == "th":
            assert attributes.get("scope") in ("col", "row", "colgroup")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if attributes.get("class") == "scroll":
            assert attributes.get("tabindex") == "0"
            assert attributes.get("aria-label")


def whole(color: str) -> str:
    """ "#fff" -> "#ffffff"."""
    return color if len(color) == 7 else "#" + "".join(2 * digit for digit in color[1:])


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(whole(color)[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_enough_contrast_in_every_scheme(reports: dict[str, str], scheme: int) -> None:
    style = reports["evaluate"].split("<style>")[1].split("</style>")[0]
    roots = re.findall(r":root {(.*?)}", style, flags=re.DOTALL)
    colors = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", roots[scheme]))
    pairs = [(text, ground) for text in ("ink", "soft", "good") for ground in ("paper", "raised")]
    for text, ground in [*pairs, ("accent", "paper"), ("warn", "paper")]:
        assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_a_matrixs_figures_have_enough_contrast_on_its_darkest_cells(
    reports: dict[str, str], scheme: int
) -> None:
    style = reports["ensemble"].split("<style>")[1].split("</style>")[0]
    root = re.findall(r":root {(.*?)}", style, flags=re.DOTALL)[scheme]
    colors = dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", root))
    under = float(re.findall(r"--under: ([.0-9]+)", root)[0])
    cell, paper = (
        [int(whole(colors[name])[at : at + 2], 16) for at in (1, 3, 5)] for name in ("accent", "paper")
    )
    mixed = [round(under * a + (1 - under) * b) for a, b in zip(cell, paper, strict=True)]
    assert contrast("#" + "".join(f"{channel:02x}" for channel in mixed), colors["ink"]) >= 4.5


def test_thumbnails_are_encoded_anew_without_what_the_file_carried(tmp_path: Path) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    Image.new("RGB", (300, 200), "red").save(file, "JPEG", exif=exif, comment=b"SECRET-COMMENT")
    products = make_products()
    write_image_store(tmp_path, [("image-1", 300, 200, file.getvalue() + b"APPENDED")])
    card = Gallery(products, ImageStore(tmp_path)).card(1)
    thumbnail = card["thumbnail"]
    data = base64.b64decode(thumbnail.split(",")[1])
    for secret in (b"script", b"SECRET", b"APPENDED", b"Exif"):
        assert secret not in data
    with Image.open(io.BytesIO(data)) as image:
        assert max(image.size) <= 112


def test_a_full_report_leaves_pictures_out_and_stays_under_its_limit(tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.effect_noise((112, 112), 120).convert("RGB").save(noise, "JPEG", quality=95)
    write_image_store(tmp_path, [("image-1", 112, 112, noise.getvalue())])
    gallery = Gallery(make_products(), ImageStore(tmp_path))
    thumbnails = [gallery.card(1)["thumbnail"] for _ in range(2_000)]
    assert thumbnails[0]
    assert thumbnails[-1] is None
    assert sum(len(uri) for uri in thumbnails if uri) <= THUMBNAIL_BYTES


def test_a_product_without_an_image_has_a_card(tmp_path: Path) -> None:
    write_image_store(tmp_path, [])
    assert Gallery(make_products(), ImageStore(tmp_path)).card(0)["thumbnail"] is None


def test_a_report_that_fails_to_draw_leaves_a_page_that_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def draw() -> str:
        raise ZeroDivisionError("no <b>products</b>")

    page = safe_report(draw)
    assert "ZeroDivisionError: no &lt;b&gt;products&lt;/b&gt;" in page
    assert "could not be drawn" in page
    assert "ZeroDivisionError" in caplog.text


def test_evaluate_ends_well_when_its_report_cannot_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    shutil.rmtree(run.images)
    result = run_evaluate(**run.stages, seed=0, metadata={}, results=tmp_path / "out")
    assert result.metrics["ensemble_macro_f1"] > 0
    assert "could not be drawn" in result.report
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == result.report


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a{OVERRIDE}b{ZERO_WIDTH}c", "abc"),
        ("tab\tand\nline", "tab and line"),
        ("e\u0301", "é"),
        ("x" * 200, "x" * 159 + "…"),
        ("a" + "\u0336" * 9, "a" + "\u0336" * 2),
        ("日本語 🧸", "日本語 🧸"),
    ],
)
def test_plain_keeps_what_can_be_read(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_training_without_curves_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    page = training_report(read_classifier(run.text[0]), read_products(run.products))
    assert "no figures of single epochs" in page


def test_a_training_of_two_stages_is_judged_by_its_last_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    read, products = read_classifier(run.image[0]), read_products(run.products)
    # Losses and macro-F1; the second stage's loss has more terms.
    stages = [[(2.0, 0.5), (1.0, 0.9)], [(4.0, 0.6), (3.0, 0.8), (2.5, 0.7)]]
    curves = [
        {"stage": stage, "epoch": epoch, "loss": loss, "macro_f1": score}
        for stage, epochs in enumerate(stages, start=1)
        for epoch, (loss, score) in enumerate(epochs, start=1)
    ]
    page = training_report(Classifier("i", "image", read.matrices, {"curves": curves}), products)
    assert "The training loss of the last stage went from 4 to 2.5." in page
    assert "It was best after epoch 2 of 3 of the last stage and ended 10.00 points lower" in page
    assert used_epoch(page) == ("the last", 5)
    page = training_report(Classifier("i", "image", read.matrices, {"curves": curves[:-1]}), products)
    assert "The last epoch of the last stage was its best" in page
    chosen = {"curves": curves, "metrics": {"chosen_epoch": 2.0}}
    page = training_report(Classifier("t", "text", read.matrices, chosen), products)
    assert used_epoch(page) == ("the best on validation", 2)


def used_epoch(page: str) -> tuple[str, int]:
    """What the page of a training of five epochs says of the dot on its macro-F1, and where that is."""
    [said] = re.findall(r"The dot is the epoch whose weights are used, ([a-z ]+)\.", page)
    [place] = re.findall(r'<circle class="dot" cx="([0-9.]+)"', page)
    return said, 1 + round(4 * (float(place) - LEFT) / (WIDTH - LEFT - RIGHT))


def test_a_fold_is_reported_on_the_products_that_it_did_not_see(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    classifier = read_classifier(run.text[0])
    fold = {"best": {"out_of_fold": classifier.matrices["best"]["validation"]}}
    page = training_report(Classifier("t", "text", fold, {"fold": 1}), read_products(run.products))
    assert "fold 1" in page
    assert "products, each of the fold that its training left out" in page


def test_a_kept_and_a_removed_label_issue_both_tell_their_fate(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    products, images = read_products(run.products), ImageStore(run.images)
    page = denoise_report(products, images, read_issues(run.label_issues))
    assert "0.010, removed" in page
    assert "0.020, kept" in page
    assert "label_issues.xlsx" in page
    assert "--corrections" in page


def test_no_label_issue_is_good_news(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    write_issues(read_products(run.products), run.label_issues, count=0)
    page = denoise_report(read_products(run.products), ImageStore(run.images), read_issues(run.label_issues))
    assert "No label disagrees" in page


@pytest.mark.slow
def test_a_browser_shows_every_report_with_no_error_request_or_dialog(
    browser: Browser, listener: Listener, tmp_path: Path
) -> None:
    paths = draw_all(tmp_path / "run", listener.address)
    check_calm(browser, list(paths.values()), tmp_path)
    assert listener.asked == []


@pytest.mark.slow
def test_a_tall_picture_is_shown_whole(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path)
    products, tall = read_products(run.products), io.BytesIO()
    Image.new("RGB", (60, 80)).save(tall, "JPEG")
    shutil.rmtree(run.images)
    keys = [key for key in products.table["image"] if isinstance(key, str)]
    write_image_store(run.images, [(key, 60, 80, tall.getvalue()) for key in keys])
    page = tmp_path / "denoise.html"
    page.write_text(denoise_report(products, ImageStore(run.images), read_issues(run.label_issues)))
    browser.visit(page)
    heights = "[...document.querySelectorAll('.thumb img')].map(each => [each, each.parentElement].map("
    shown = browser.evaluate(f"{heights}one => one.getBoundingClientRect().height))")
    assert {frame for _, frame in shown} == {76, 56}
    assert all(picture <= frame for picture, frame in shown)


@pytest.mark.slow
def test_the_name_of_an_axis_keeps_clear_of_its_numbers(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "chart.html"
    page.write_text(str(histogram([120_000, 700_000], [0, 1, 2], title="t", x_name="words")))
    browser.visit(page)
    sides = "map(each => each.getBoundingClientRect())"
    name = browser.evaluate(f"[...document.querySelectorAll('[transform]')].{sides}[0].right")
    numbers = browser.evaluate(f"[...document.querySelectorAll('.tick.end')].{sides}.map(each => each.left)")
    assert name <= min(numbers)


@pytest.mark.slow
def test_the_browser_test_would_notice_a_report_that_does_not_escape(
    browser: Browser, listener: Listener, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(f'<title>x</title><h1>x</h1><img src="{listener.address}/img" onerror="{SHOUT};nobody()">')
    browser.forget()
    browser.visit(bad)
    assert browser.evaluate("document.title") == "PWNED"
    assert listener.asked == ["/img"]
    assert browser.requests
    assert browser.dialogs == ["1"]
    assert browser.console
    browser.forget()
    frame = tmp_path / "frame.html"
    frame.write_text(framed([f"<script>{SPEAK};nobody()</script>"]), encoding="utf-8")
    browser.visit(frame, settle=1)
    assert browser.evaluate("document.title") == "PWNED"
    assert browser.console
    listener.asked.clear()


def test_a_catalog_without_descriptions_gets_no_chart_of_their_words(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    products, images = read_products(run.products), ImageStore(run.images)
    table = products.table.assign(description="")
    bare = Products(table, products.classes, products.metadata)
    pages = [preprocess_report(each, profile_catalog(each, images), []) for each in (products, bare)]
    assert [page.count('class="chart"') for page in pages] == [2, 1]
    assert "No product has one." in pages[1]


def test_columns_of_unequal_bins_are_densities() -> None:
    chart = str(histogram([10, 10, 40], [0, 1, 2, 10], title="t", x_name="words"))
    heights = [float(found) for found in re.findall(r'class="column"[^>]* height="([0-9.]+)"', chart)]
    widths = [float(found) for found in re.findall(r'class="column"[^>]* width="([0-9.]+)"', chart)]
    assert heights[0] == pytest.approx(heights[1])
    assert heights[2] == pytest.approx(heights[0] / 2, abs=0.2)
    assert widths[2] > 7 * widths[0]
    assert "products a word" in chart
    assert "2 to 10: 40" in chart


@pytest.mark.parametrize(("count", "texts"), [(3, True), (20, True), (45, False)])
def test_a_matrix_is_no_wider_than_the_page_and_has_figures_where_they_have_room(
    count: int, texts: bool
) -> None:
    names = [f"logistic(the name of a text, the name of an image {number})" for number in range(count)]
    chart = str(agreement_chart(np.full((count, count), 0.9), names))
    [width] = re.findall(r'class="matrix"[^>]* width="([0-9.]+)"', chart)
    assert float(width) <= 1024
    assert ('class="value' in chart) == texts


def test_the_fusions_page_scores_choices_on_other_products_and_names_no_class_of_few(tmp_path: Path) -> None:
    run = write_run(tmp_path, products := make_products(60, 6))
    text, image = [read_classifier(path) for path in run.text], [read_classifier(path) for path in run.image]
    members = read_classifiers(run.members)
    rows = products.rows("validation")
    predicted = np.stack([each.chosen("validation", products.ids[rows]).argmax(axis=1) for each in members])
    groups = products.table["group"].to_numpy()[rows]
    best = chosen_macro_f1(predicted, products.labels[rows], groups, 6)
    page = html.unescape(fusion_report(products, text, image, members, read_classifiers(run.feature_level)))
    assert re.search(rf"fused, the best member</dt><dd>{100 * best:.2f} ", page)
    assert "Text adds to no class of 5 products or more" in page
    training = training_report(text[0], products)
    assert "There is no class of 5 products or more" in training


def vote_report(folder: Path, gains: list[float], weights: list[float], skill: float) -> str:
    """The ensemble's report, its metadata as given."""
    run = write_run(folder, make_products())
    products, members = read_products(run.products), read_classifiers(run.members)
    truth = products.labels
    names = [member.name for member in members]
    found = {"members": names, "weights": weights, "leave_one_out_gain": gains}
    voted = make_classifier("vote", "ensemble", products, truth, skill, seed=1, **found)
    return html.unescape(ensemble_report(products, ImageStore(run.images), members, voted))


def test_the_ensembles_page_names_members_that_harm_and_claims_nothing_that_figures_do_not_hold(
    tmp_path: Path,
) -> None:
    harmed = vote_report(tmp_path / "harmed", [-0.01, 0.02, -0.00001, -0.003], [0.25] * 4, 1.0)
    assert "without each: member-0 (+1.00), member-3 (+0.30)." in harmed
    assert "none carries it alone" in harmed
    assert "points under its best member" in harmed
    carried = vote_report(tmp_path / "carried", [0.0] * 4, [0.7, 0.1, 0.1, 0.1], 1.0)
    assert "most weight has member-0 (70" in carried
    assert "the others outvote it" in carried
    fine = vote_report(tmp_path / "fine", [0.0] * 4, [0.25] * 4, 50.0)
    assert "Without any one member the vote is no better." in fine
    assert "points over its best member" in fine
