"""Texts in the ways in which tokenizers differ: scripts, digits, spaces, joined characters."""

TEXTS = (
    "Hello there.",
    "The quick brown fox jumps over the lazy dog, doesn't it? IT'LL DO!",
    "In 1984, 12345678 people paid $3.50 each; that's 28,024 % more than 0.0007.",
    "  Leading, \t tabbed\n\nand   broken \r\n lines   ",
    "Größe, naïve café, Ærø, Łódź, ﬁne ①②③ ½",
    "你好，世界！今天的天气怎么样？我们三点半见。",
    "おはようございます。今日は3月14日です。",
    "안녕하세요, 만나서 반갑습니다. 오늘은 어떠세요?",
    "Съешь же ещё этих мягких французских булок",
    "مرحبا بالعالم ١٢٣ שלום नमस्ते สวัสดี",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200b\u200d\ufeff \u00a0\u3000",
    "[SPEAKER0] Hi.\n[SPEAKER1] <SE>[Laughter]</SE> Hello -- https://example.com/a?b=c#d",
    "x" * 300 + " " * 50 + "!?" * 100,
)
