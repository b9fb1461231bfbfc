import pytest

from llamaindex_reaktly.content.language import detect_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The server restarts every night at three, except on Sundays.", "en"),
        ("Der Server startet jede Nacht um drei Uhr neu, außer sonntags.", "de"),
        ("Le serveur redémarre chaque nuit à trois heures, sauf le dimanche.", "fr"),
        ("数据库每晚备份一次", "zh"),
        ("データベースは毎晩バックアップされます", "ja"),
        ("데이터베이스는 매일 밤 백업됩니다", "ko"),
    ],
)
def test_a_sentence_tells_its_language(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize("text", ["", "x", "AB-1234 49.90 EUR", "12345 " * 50])
def test_what_tells_nothing_has_the_default(text: str) -> None:
    assert detect_language(text) == "en"
    assert detect_language(text, default="de") == "de"
