"""A made-up catalog in the challenge's form, so that the pipeline can be seen at work without any data.

French-like titles and descriptions with HTML, entities and missing descriptions; drawn 500x500 images;
27 unbalanced classes; labels changed at a known rate. Nothing in it is real.
"""

import csv
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.client.sample.drawing import draw_product
from components.core.artifacts import whole_file
from components.reports.page import read_issue_rows

PRODUCTS, TEST_PRODUCTS = 2000, 400
NOISE_RATE = 0.03
VAGUE_RATE = 0.12
NO_DESCRIPTION = 0.35  # as in the challenge (paper, section 2)

# code: (name, nouns, shape); the words of a class overlap with its neighbors', as real titles do.
CLASSES = {
    "10": ("Livre d'occasion", "livre roman essai récit", "book"),
    "40": ("Jeu vidéo importé", "jeu cartouche console import", "cartridge"),
    "50": ("Accessoire de jeu", "manette câble volant housse", "pad"),
    "60": ("Console", "console portable station", "console"),
    "1140": ("Figurine", "figurine statuette héros", "figure"),
    "1160": ("Carte à collectionner", "carte booster brillante rare", "card"),
    "1180": ("Jeu de figurines", "armée figurine blister dés", "dice"),
    "1280": ("Jouet", "jouet peluche poupée voiture", "ball"),
    "1281": ("Jeu de société", "jeu plateau famille quiz", "board"),
    "1300": ("Modélisme", "drone voiture télécommandée hélice", "drone"),
    "1301": ("Chaussettes bébé", "chaussettes bébé coton lot", "sock"),
    "1302": ("Plein air", "trampoline vélo trottinette camping", "wheel"),
    "1320": ("Puériculture", "biberon poussette lit bébé", "bottle"),
    "1560": ("Mobilier", "chaise table meuble bois", "chair"),
    "1920": ("Linge", "coussin taie housse imprimée", "cushion"),
    "1940": ("Épicerie", "thé café chocolat bio", "tin"),
    "2060": ("Décoration", "guirlande lampe tableau ruban", "lamp"),
    "2220": ("Animalerie", "collier laisse chien chat", "bone"),
    "2280": ("Magazine", "revue journal numéro magazine", "page"),
    "2403": ("Lot de livres", "lot livres manga collection", "stack"),
    "2462": ("Lot de jeux", "lot jeux console manettes", "boxes"),
    "2522": ("Papeterie", "cahier stylo carnet agenda", "pen"),
    "2582": ("Jardin", "parasol tonnelle salon jardin", "parasol"),
    "2583": ("Piscine", "piscine pompe bâche filtre", "drop"),
    "2585": ("Outillage", "perceuse pince outil jardinage", "hammer"),
    "2705": ("Livre neuf", "livre histoire roman guide", "book"),
    "2905": ("Jeu à télécharger", "jeu téléchargement clé code", "key"),
}
# Words of a title that fits every class: there the image has something to add.
VAGUE_NOUNS = "article produit modèle pièce"
ADJECTIVES = "grand petit nouveau joli original pratique élégant léger solide complet classique moderne"
COLORS = {
    "rouge": (196, 48, 43),
    "bleu": (40, 88, 180),
    "vert": (46, 140, 80),
    "noir": (35, 35, 40),
    "jaune": (230, 190, 50),
    "rose": (225, 130, 165),
    "gris": (140, 145, 150),
}
BRANDS = "Alpina Berto Corvo Delmas Estoril Fargo Gentil Hélios Ibis Jolival"
SENTENCES = (
    "Livraison rapide et soignée.",
    "Idéal pour offrir à toute la famille.",
    "Matière : coton &amp; polyester.",
    "Dimensions : {n} x {m} cm.",
    "Qualité garantie, état <b>neuf</b>.",
    "Compatible avec la plupart des modèles.",
    "Couleur {color}, finition {adjective}.",
    "Attention : l&#39;emballage peut varier.<br />",
    "High quality, fast delivery worldwide.",
    "Vendu par {brand}, expédié sous 24&nbsp;h.",
)


@dataclass(frozen=True)
class SampleProduct:
    """One made-up product; `code` is the true one, `given` the one in the labels file."""

    title: str
    description: str
    code: str
    given: str
    color: str
    image_id: int
    product_id: int


def write_sample(
    folder: Path, *, seed: int, products: int = PRODUCTS, test_products: int = TEST_PRODUCTS
) -> dict[str, str]:
    """Writes a sample catalog into `folder`.

    `planted.tsv` lists the products whose label was changed on purpose, so that what denoising finds can
    be held against it; `Y_test.tsv` has the true codes of the test products.

    Args:
        seed: of every draw; one seed makes the same bytes.
        products: how many labeled products, at least ten a class.
        test_products: how many to categorize.

    Returns:
        The paths of the catalog's files: products, labels, images, test_products, test_images, test_labels,
        class_names.
    """
    rng = np.random.default_rng(seed)
    codes = list(CLASSES)
    weights = np.exp(-np.linspace(0, 2.6, len(codes)))  # 13 to 1, as in the challenge
    weights = rng.permutation(weights / weights.sum())
    train = [*np.repeat(codes, 10), *rng.choice(codes, max(0, products - 10 * len(codes)), p=weights)]
    test = rng.choice(codes, test_products, p=weights)
    ids = rng.permutation(10**6 + np.arange(2 * (len(train) + len(test))))
    made = [
        _product(rng, str(code), *ids[2 * i : 2 * i + 2])
        for i, code in enumerate([*rng.permutation(train), *test])
    ]
    labeled, predicted = made[: len(train)], made[len(train) :]
    predicted = [SampleProduct(**{**vars(product), "given": product.code}) for product in predicted]
    paths = {
        "products": _write_products(folder / "X_train.tsv", labeled),
        "labels": _write_labels(folder / "Y_train.tsv", labeled),
        "images": _write_images(folder / "images_train.zip", labeled, rng),
        "test_products": _write_products(folder / "X_test.tsv", predicted),
        "test_images": _write_images(folder / "images_test.zip", predicted, rng),
        "test_labels": _write_labels(folder / "Y_test.tsv", predicted),
        "class_names": folder / "class_names.json",
    }
    names = {code: name for code, (name, _, _) in CLASSES.items()}
    paths["class_names"].write_text(json.dumps(names, ensure_ascii=False, indent=1), encoding="utf-8")
    changed = [[p.product_id, p.code, p.given] for p in labeled if p.code != p.given]
    _write_rows(folder / "planted.tsv", ["product_id", "true_code", "given_code"], changed)
    return {name: str(path) for name, path in paths.items()}


def denoising_seen(planted: Path, label_issues: Path) -> str:
    """What denoising found of the labels that were changed on purpose, in one sentence.

    Args:
        planted: the sample's `planted.tsv`.
        label_issues: what denoising flagged (TSV).
    """
    changed = {line.partition("\t")[0] for line in planted.read_text(encoding="utf-8").splitlines()[1:]}
    issues = read_issue_rows(label_issues)
    flagged, removed = set(issues["product_id"]), set(issues["product_id"][issues["removed"]])
    return (
        f"denoising: of {len(changed)} labels changed on purpose {len(changed & flagged)} are among the "
        f"{len(flagged)} flagged; of {len(removed)} products removed from training {len(changed & removed)} "
        "had such a label"
    )


def _product(rng: np.random.Generator, code: str, image_id: int, product_id: int) -> SampleProduct:
    nouns = CLASSES[code][1].split()
    # Vague, not misleading: a title of another class would be a second kind of noise, and found as such.
    if rng.random() < VAGUE_RATE:
        nouns = VAGUE_NOUNS.split()
    adjective, brand = str(rng.choice(ADJECTIVES.split())), str(rng.choice(BRANDS.split()))
    color = str(rng.choice(list(COLORS)))
    words = [str(rng.choice(nouns)), adjective, color, brand]
    if rng.random() < 0.5:
        words.insert(1, str(rng.choice(nouns)))
    title = " ".join(words).capitalize() + f" {rng.integers(1, 999)}"
    if rng.random() < 0.1:
        title = title.replace(" ", " &amp; ", 1)
    description = ""
    if rng.random() > NO_DESCRIPTION:
        count = int(rng.integers(1, 6))
        text = " ".join(str(sentence) for sentence in rng.choice(SENTENCES, count, replace=False))
        text = text.format(
            n=rng.integers(5, 90), m=rng.integers(5, 90), color=color, adjective=adjective, brand=brand
        )
        description = f"<p>{' '.join(rng.choice(nouns, 2))}. {text}</p>"
    given = code
    if rng.random() < NOISE_RATE:
        given = str(rng.choice([other for other in CLASSES if other != code]))
    return SampleProduct(title, description, code, given, color, int(image_id), int(product_id))


def _write_rows(path: Path, header: list[str], rows: list[list]) -> Path:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def _write_products(path: Path, products: list[SampleProduct]) -> Path:
    rows = [[i, p.title, p.description, p.image_id, p.product_id] for i, p in enumerate(products)]
    return _write_rows(path, ["Integer_id", "Title", "Description", "Image_id", "Product_id"], rows)


def _write_labels(path: Path, products: list[SampleProduct]) -> Path:
    rows = [[i, p.image_id, p.product_id, p.given] for i, p in enumerate(products)]
    return _write_rows(path, ["Integer_id", "Image_id", "Product_id", "Prdtypecode"], rows)


def _write_images(path: Path, products: list[SampleProduct], rng: np.random.Generator) -> Path:
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for product in products:
            file = io.BytesIO()
            draw_product(CLASSES[product.code][2], COLORS[product.color], rng).save(file, "JPEG", quality=80)
            name = f"image_{product.image_id}_product_{product.product_id}.jpg"
            # A fixed time stamp: one seed makes the same bytes.
            archive.writestr(zipfile.ZipInfo(f"images/{name}", (2020, 1, 1, 0, 0, 0)), file.getvalue())
    return path
