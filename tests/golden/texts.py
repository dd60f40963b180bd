"""The texts, pairs and weights of the golden test: many languages, many lengths, and what trips an encoder up."""

WORDS = (
    "The quick brown fox jumps over the lazy dog while the old library stays open until late in the evening and "
    "nobody reads the long list of books that were written about search engines and their index files"
)

TEXTS = [
    "What is BGE M3?",
    "Definition of BM25",
    "BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction.",
    "BM25 is a bag-of-words retrieval function that ranks a set of documents by the query terms they contain.",
    "How do I open a zip file and read what is in it?",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Die Bücherei öffnet um neun Uhr und schließt spät am Abend.",
    "Le vif renard brun saute par-dessus le chien paresseux.",
    "Où se trouve la bibliothèque la plus proche ?",
    "El rápido zorro marrón salta sobre el perro perezoso.",
    "La volpe veloce salta sopra il cane pigro.",
    "A raposa rápida salta sobre o cão preguiçoso.",
    "Szybki brązowy lis przeskakuje nad leniwym psem.",
    "Hızlı kahverengi tilki tembel köpeğin üzerinden atlar.",
    "Быстрая лиса прыгает через ленивую собаку.",
    "Швидка лисиця стрибає через ледачого пса.",
    "Η γρήγορη αλεπού πηδάει πάνω από το τεμπέλικο σκυλί.",
    "השועל המהיר קופץ מעל הכלב העצלן.",
    "الثعلب السريع يقفز فوق الكلب الكسول.",
    "तेज़ लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "สุนัขจิ้งจอกกระโดดข้ามสุนัขขี้เกียจ",
    "敏捷的棕色狐狸跳过了懒狗。",
    "素早い茶色の狐がのろまな犬を飛び越える。",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다.",
    "Con cáo nhanh nhẹn nhảy qua con chó lười.",
    "",
    "   ",
    "\t\n \r\n",
    "\u16a0\u16a2\u16a6 \u16c1\u16df",  # runes: the vocabulary has none of them
    "\U0001f98a\U0001f436",
    "dog dog dog dog dog dog dog dog",
    "the dog the fox the dog the fox, THE DOG",
    "</s> <pad>",
    "a text with <pad> <pad> inside and </s> at its end</s>",
    "<s> <unk> <mask> the <mask> fox<mask>dog",
    "0123456789 3.14159 1,000,000 10:45",
    "CamelCase snake_case kebab-case https://example.org/index.html?q=fox#dog",
    " ".join([WORDS] * 4),
    f"{WORDS}\nБыстрая лиса прыгает через ленивую собаку.\n{WORDS}",
    "x",
]

UNSEEN = {28, 29}
"""Texts that the vocabulary is not made from."""

PAIRS = [
    (0, 2),
    (0, 3),
    (1, 2),
    (1, 3),
    (4, 36),
    (5, 7),
    (14, 15),
    (21, 22),
    (25, 2),
    (2, 25),
    (26, 27),
    (28, 29),
    (30, 31),
    (32, 33),
    (34, 31),
    (37, 38),
    (39, 37),
]
"""(query, passage), positions in `TEXTS`."""

WEIGHTS = [None, [1.0, 0.3, 1.0], [0.4, 0.2, 0.4], [0.2, 0.8, 0.0], [0.0, 1.0, 0.0]]
"""Of dense, sparse and colbert; None is FlagEmbedding's default."""

MAX_TOKENS = 64
