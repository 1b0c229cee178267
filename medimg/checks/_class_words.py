"""Words of class names that mean one thing in six languages, and pairs that only look alike."""

from __future__ import annotations

# a line a meaning: English, German, French, Spanish, Italian, Portuguese, and how they are cut
# short; compared without case, accents, blanks and marks
SYNONYMS = (
    "normal healthy gesund gesunde sain saine sano sana sanos sanas sani saudavel normale "
    "normales normalbefund normali normais nofinding nofindings ohnebefund sinhallazgos "
    "sansparticularite",
    "pneumonia neumonia pneumonie polmonite lungenentzuendung lungenentzundung pulmonia",
    "benign benigno benigna benin benigne gutartig",
    "malignant malign maligno maligna malin maligne boesartig bosartig",
    "cancer krebs cancro cancere",
    "tumor tumour tumeur tumore",
    "notumor notumour keintumor sintumor pasdetumeur senzatumore semtumor nontumor",
    "covid covid19 covid2019 coronavirus sarscov2",
    "tuberculosis tuberkulose tuberculose tubercolosi tb",
    "viral virale virus virico virica",
    "bacterial bakteriell bakterielle bacterien bacterienne bacteriano bacteriana batterico "
    "batterica bacteria",
    "positive positif positivo positiva positiv",
    "negative negatif negativo negativa negativ",
    "glioma gliom gliome",
    "meningioma meningiom meningiome",
    "pituitary hypophyse hipofisis hipofise ipofisi hypophysaire pituitaria",
    "melanoma melanom melanome",
    "nevus naevus nevo nevi naevi",
    "cataract katarakt cataracte catarata cataratta",
    "glaucoma glaukom glaucome",
    "diabetes diabete",
    "retinopathy retinopathie retinopatia",
    "fracture fraktur fractura frattura fratura bruch",
    "edema oedema odem oedem oedeme",
    "effusion erguss epanchement derrame versamento",
    "pneumothorax pneumotorax pneumotorace",
    "nodule knoten noduli nodulo nodul",
    "polyp polype polipo",
    "ulcer ulkus geschwur ulcere ulcera",
)
# parts that turn a word round, and are a letter or two apart
OPPOSITES = (
    ("hypo", "hyper"),
    ("intra", "inter"),
    ("micro", "macro"),
    ("pre", "pro"),
    ("pre", "peri"),
    ("pre", "post"),
    ("ante", "anti"),
    ("endo", "ecto"),
    ("endo", "exo"),
    ("supra", "super"),
    ("osteoporosis", "osteopetrosis"),
    ("peroneal", "peritoneal"),
    ("peroneal", "perineal"),
    ("mitosis", "miosis"),
    ("myoma", "myeloma"),
    ("blast", "cyte"),
)
