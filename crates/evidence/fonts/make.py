"""Makes the fonts of the evidence pack: subsets of Debian's Noto fonts. README.md says how to run it."""

import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTFont

NOTO = pathlib.Path("/usr/share/fonts/truetype/noto")
CJK = pathlib.Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
# The face of the collection with the forms of simplified Chinese.
CJK_FACE = 2

# Latin with what Vietnamese and Pinyin need, IPA, Greek, Cyrillic, punctuation, currencies, arrows.
WESTERN = [
    (0x20, 0x7E), (0xA0, 0x36F), (0x370, 0x52F), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x209F),
    (0x20A0, 0x20CF), (0x2100, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x25CC, 0x25CC), (0xFB00, 0xFB06),
    (0xFFFD, 0xFFFD),
]
# Punctuation, kana, Bopomofo, circled and squared, all Hangul syllables, full and half width. 0x303C etc. as the font has them.
EASTERN = [
    (0x2000, 0x206F), (0x2100, 0x22FF), (0x2460, 0x27BF), (0x3000, 0x33FF), (0xAC00, 0xD7A3), (0xFE30, 0xFE4F),
    (0xFF00, 0xFFEF), (0xFFFD, 0xFFFD),
]
# Ideographs of the character sets that these codecs know: China, Taiwan and Hong Kong, Japan, Korea.
CODECS = ["gb2312", "cp950", "cp932", "cp949", "big5hkscs"]


def characters(ranges):
    return {point for first, last in ranges for point in range(first, last + 1)}


def is_known(point):
    for codec in CODECS:
        try:
            chr(point).encode(codec)
            return True
        except UnicodeEncodeError:
            pass
    return False


def ideographs():
    blocks = [(0x4E00, 0x9FFF), (0xF900, 0xFAFF)]
    return {point for point in characters(blocks) if is_known(point)}


def make(source, face, points, target):
    font = TTFont(source, fontNumber=face, recalcTimestamp=False)
    options = subset.Options()
    options.layout_features = []
    options.hinting = False
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.drop_tables += ["GDEF", "GPOS", "GSUB", "BASE", "VORG", "vhea", "vmtx", "meta", "DSIG"]
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=points & set(font.getBestCmap()))
    subsetter.subset(font)
    font.save(target)
    print(target, len(font.getBestCmap()), "characters,", pathlib.Path(target).stat().st_size, "bytes")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    western = characters(WESTERN)
    make(NOTO / "NotoSans-Regular.ttf", -1, western, folder / "regular.ttf")
    make(NOTO / "NotoSans-Bold.ttf", -1, western, folder / "bold.ttf")
    make(CJK, CJK_FACE, characters(EASTERN) | ideographs(), folder / "cjk.otf")
