"""Retrieval of APIs: metrics by hand, retrievers, collections, and episodes with what was found."""

import json
from math import log2
from pathlib import Path

import gymnasium as gym
import pytest

import steptool_env  # noqa: F401
from agents.cli import main
from steptool_env.errors import ConfigurationError, DataError
from steptool_env.retrieval import Document, document_of, make_retriever, ndcg_at, recall_at
from steptool_env.retrieval.collections import measure, read_collection, suite_collection
from steptool_env.stabletoolbench.suite import StableToolBenchSuite
from toolserver.catalog.api_schema import ApiSpec, Parameter

STABLE = "StepTool/StableToolBench-v0"
APIS = [
    ApiSpec("Weather", "Sky Watch", "Forecast", "Weather of the coming days in a city.", (Parameter("city"),)),
    ApiSpec("Sports", "The Clique", "Transfers", "Transfers of a football player."),
    ApiSpec("Food", "Pantry", "Recipes", "Recipes that use an ingredient."),
]


def test_recall_and_ndcg_by_hand() -> None:
    ranked = ["a", "x", "b", "y"]
    assert recall_at(1, ranked, {"a", "b", "c"}) == pytest.approx(1 / 3)
    assert recall_at(3, ranked, {"a", "b", "c"}) == pytest.approx(2 / 3)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg_at(4, ranked, {"a", "b", "c"}) == pytest.approx((1 + 1 / log2(4)) / ideal)
    assert ndcg_at(1, ranked, {"x"}) == 0
    assert ndcg_at(2, ["a", "b"], {"a", "b"}) == 1
    assert recall_at(5, [], {"a"}) == ndcg_at(5, [], {"a"}) == 0


def test_bm25_finds_by_names_and_descriptions() -> None:
    retriever = make_retriever("bm25", [document_of(spec) for spec in APIS])
    found = retriever.rank(["What is the weather like?", "Which football transfers?", "qqqq", "", "_?"], 2)
    assert [names[:1] for names in found] == [
        ["Weather/sky_watch/forecast"], ["Sports/the_clique/transfers"], [], [], []
    ]  # fmt: skip


def test_every_word_of_a_long_query_counts() -> None:
    retriever = make_retriever("bm25", [document_of(spec) for spec in APIS])
    query = " ".join(f"q{number}q" for number in range(1000)) + " recipes"
    assert retriever.rank([query], 2) == [["Food/pantry/recipes"]]


def test_the_text_of_an_api_is_that_of_toolbenchs_retriever() -> None:
    text = document_of(APIS[0]).text
    assert text == (
        "Weather, Sky Watch, Forecast, Weather of the coming days in a city., required_params: "
        '[{"name": "city", "type": "STRING", "description": "", "default": ""}], optional_params: [], return_schema: ""'
    )


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sentence-transformers model with random word vectors: texts are near if they share words."""
    pytest.importorskip("sentence_transformers", reason="needs the extra `retrieval` (sentence-transformers)")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = {word.strip(".,?:").lower() for spec in APIS for word in document_of(spec).text.split()}
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["[UNK]", *sorted(words)])}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("model")
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=256)], device="cpu").save(str(folder))
    return str(folder)


@pytest.mark.filterwarnings("default")
def test_any_sentence_transformers_model_retrieves(tiny_model: str) -> None:
    documents = [document_of(spec) for spec in APIS]
    retriever = make_retriever(tiny_model, documents)
    assert [names[0] for names in retriever.rank([d.text for d in documents], 3)] == [d.name for d in documents]
    assert retriever.rank(["football player transfers"], 1) == [["Sports/the_clique/transfers"]]
    assert retriever.rank([], 3) == []


@pytest.mark.filterwarnings("default")
def test_a_model_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="retriever='/no/such/model'"):
        make_retriever("/no/such/model", [document_of(APIS[0])])


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kind", ["bm25", "dense"])
def test_an_episode_offers_what_was_found_and_its_calls_are_answered(kind: str, request: pytest.FixtureRequest) -> None:
    retriever = "bm25" if kind == "bm25" else request.getfixturevalue("tiny_model")
    env = gym.make(STABLE, suite="all", tools="retrieved:4", retriever=retriever)
    given = gym.make(STABLE, suite="all")
    offered = []
    for task in range(48):
        found = env.reset(seed=0, options={"task": task})[1]["functions"]
        offered.append([function["name"] for function in found])
        assert len(found) == 5
        assert found[-1]["name"] == "Finish"
    first = given.reset(seed=0, options={"task": 0})[1]["functions"]
    assert [function["name"] for function in first] != offered[0]
    env.reset(seed=0, options={"task": 0})
    _, _, _, _, info = env.step(f"Action: {offered[0][0]}\nAction Input: {{}}")
    assert info["status"] != 1  # the function is offered and known to the tools
    again = gym.make(STABLE, suite="all", tools="retrieved:4", retriever=retriever)
    again.unwrapped.restore(env.unwrapped.snapshot())  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"suite\.tools"):
        given.unwrapped.restore(env.unwrapped.snapshot())  # type: ignore[attr-defined]


def test_the_retrieved_functions_hold_relevant_ones_as_often_as_recall_says() -> None:
    suite = StableToolBenchSuite("all", tools="retrieved:5")
    collection = suite_collection(suite)
    retriever = make_retriever("bm25", collection.documents)
    shares = []
    for key in collection.queries:
        task = suite.find(key.rpartition("/")[2])
        offered = {"/".join(spec.key) for spec in task.tools}
        shares.append(len(offered & collection.relevant[key]) / len(collection.relevant[key]))
    figures = measure(collection, retriever, (5,))
    assert figures["recall@5"] == pytest.approx(sum(shares) / len(shares))
    assert 0.5 < figures["recall@5"] < 1


@pytest.mark.parametrize("tools", ["retrieved", "retrieved:0", "retrieved:x", "all", 5])
def test_wrong_tools_are_named(tools: object) -> None:
    with pytest.raises(ConfigurationError, match="must be 'given' or 'retrieved:K'"):
        gym.make(STABLE, tools=tools)


def beir(folder: Path, qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [
        {"_id": str(n), "title": "", "text": document_of(spec).text, "metadata": {}} for n, spec in enumerate(APIS)
    ]
    queries = [{"_id": "7", "text": "Recipes with salmon?"}, {"_id": "8", "text": "The weather in Oslo?"}]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels)
    return folder


def test_toollens_layout_is_read_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document that is named twice counts once, as in ToolLens's own judgements."""
    folder = beir(tmp_path / "ToolLens", "7\t2\t1\n7\t2\t1\n8\t0\t1\n8\t1\t1\n7\t1\t0\n")
    collection = read_collection(folder)
    assert collection.relevant == {"7": frozenset({"2"}), "8": frozenset({"0", "1"})}
    assert all(isinstance(document, Document) for document in collection.documents)
    out = tmp_path / "figures.json"
    main(["retrieval", "--collection", str(folder), "--k", "1", "3", "1", "--out", str(out)])
    figures = json.loads(out.read_text())
    assert (figures["queries"], figures["documents"]) == (2, 3)
    assert figures["retrievers"]["bm25"]["recall@1"] == 0.75
    assert "bm25" in capsys.readouterr().out


@pytest.mark.parametrize("qrels", ["", "9\t0\t1\n", "7\t9\t1\n", "7 0 1\n"])
def test_wrong_judgements_are_named(qrels: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.tsv"):
        read_collection(beir(tmp_path / "c", qrels))


def test_judgements_without_a_header_are_refused(tmp_path: Path) -> None:
    folder = beir(tmp_path / "c", "")
    (folder / "qrels" / "test.tsv").write_text("7\t2\t1\n8\t0\t1\n")
    with pytest.raises(DataError, match="line 1: must be the header"):
        read_collection(folder)


def corpus_of(folder: Path, documents: dict[str, str], query: str, relevant: str) -> Path:
    """A collection of one query, with the line ends of `json.dumps` that keep other languages readable."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", {"q": query})):
        lines = (json.dumps({"_id": key, "text": text}, ensure_ascii=False) + "\n" for key, text in texts.items())
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq\t{relevant}\t1\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("mark", ["\u2028", "\x85"])
def test_a_text_may_hold_a_line_break_of_unicode(mark: str, tmp_path: Path) -> None:
    text = f"Weather of a city.{mark}In days."
    collection = read_collection(corpus_of(tmp_path / "c", {"1": text}, f"weather{mark}?", "1"))
    assert [document.text for document in collection.documents] == [text]


def test_documents_are_found_by_their_texts_and_not_by_their_ids(tmp_path: Path) -> None:
    documents = {"A-1": "Recipes of fish.", "a_1": "Weather of a city.", "天": "Transfers.", "3": "Plays of a theatre."}
    folder = corpus_of(tmp_path / "c", documents, "The weather of the city in 3 days?", "a_1")
    collection = read_collection(folder)
    retriever = make_retriever("bm25", collection.documents)
    assert retriever.rank(["The weather of the city in 3 days?"], 1) == [["a_1"]]
    for name, text in documents.items():
        assert retriever.rank([text], 1) == [[name]]


def test_two_documents_with_one_id_are_refused(tmp_path: Path) -> None:
    folder = corpus_of(tmp_path / "c", {"1": "Weather."}, "weather", "1")
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text(encoding="utf-8") * 2, encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl: has two documents with the _id '1'"):
        read_collection(folder)
