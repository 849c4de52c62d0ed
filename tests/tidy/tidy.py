#!/usr/bin/env python3
"""Checks of form that no compiler makes. Prints FILE:LINE: what, one a line; exit 1 when there are any.

  tidy.py [ROOT]

Include layers and third-party doors (layers.txt), banned functions, // comments, long lines, functions and
files, tabs, a module without a test, a heading that only says TODO, machine paths.
"""
import fnmatch, os, re, subprocess, sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "../.."))
MAX_LINE, MAX_FUNCTION, MAX_FILE = 100, 70, 700
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|localtime|gmtime|gets|system|popen|tmpnam|mktemp|alloca|assert)\s*\(")
HEADERS_WITHOUT_TEST = re.compile(r"/(check|limits|view|shape|status|codec_pb)\.h$")
problems = []


def problem(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def files():
    out = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True)
    names = out.stdout.split("\n") if out.returncode == 0 and out.stdout else [
        os.path.relpath(os.path.join(d, f), ROOT) for d, _, fs in os.walk(ROOT) if "/build" not in d and "/.git" not in d for f in fs]
    return [n for n in names if n and os.path.isfile(os.path.join(ROOT, n))]


def read_layers():
    layers, doors = {}, []
    for line in open(os.path.join(ROOT, "tests/tidy/layers.txt"), encoding="utf-8"):
        line = line.split("#")[0].strip()
        if line.startswith("door "):
            words = line.split()
            doors.append((words[1], words[2:]))
        elif line:
            folder, allowed = line.split(":")
            layers[folder.strip()] = allowed.split()
    return layers, doors


def folder_of(path, layers):
    return max((f for f in layers if path.startswith(f + "/")), key=len, default=None)


def strip_comments(text):
    """Comments and string contents become blanks; line numbers stay."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', lambda m: m.group(0)[0] + re.sub(r"[^\n]", " ", m.group(0)[1:-1]) + m.group(0)[-1], text)
    return re.sub(r"/\*.*?\*/", blank, text, flags=re.S)


def check_includes(path, text, layers, doors):
    folder = folder_of(path, layers)
    for number, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not m:
            continue
        quote, name = m.groups()
        for prefix, allowed in doors:
            if name.startswith(prefix) and not path.startswith("tests/") and not any(fnmatch.fnmatch(path, a) for a in allowed):
                problem(path, number, f"{name} may be included by {' '.join(allowed)} only")
        if quote == '"' and folder and "/" in name:
            top = name.split("/")[0]
            own = folder.split("/")[-1]
            if top not in layers[folder] and top != own and not os.path.isdir(os.path.join(ROOT, folder, top)):
                problem(path, number, f"{folder} may not include {top}/ (tests/tidy/layers.txt)")


def check_functions(path, code):
    """Functions start in column 0 and end with a lone } there: clang-format sees to it."""
    start = name = None
    for number, line in enumerate(code.split("\n"), 1):
        m = re.match(r"^[A-Za-z_].*?(\w+)\([^;]*$", line)
        if start is None and m and not line.startswith(("#", "typedef", "struct {", "enum ", "union ")) or (start is None and m and line.startswith("enum ") and "(" in line):
            name, candidate = m.group(1), number
            if line.rstrip().endswith("{"):
                start = number
            else:
                start = -candidate
        elif start is not None and start < 0:
            if line.rstrip().endswith("{"):
                start = -start
            elif line.rstrip().endswith(";") or not line.strip():
                start = None
        elif start is not None and line.startswith("}"):
            if number - start + 1 > MAX_FUNCTION:
                problem(path, start, f"{name}() has {number - start + 1} lines, at most {MAX_FUNCTION}")
            start = None


def check_source(path, layers, doors):
    raw = open(os.path.join(ROOT, path), encoding="utf-8").read()
    code = strip_comments(raw)
    lines = code.split("\n")
    for number, line in enumerate(raw.split("\n"), 1):
        if len(line) > MAX_LINE:
            problem(path, number, f"{len(line)} columns, at most {MAX_LINE}")
        if "\t" in line:
            problem(path, number, "a tab")
    for number, line in enumerate(lines, 1):
        m = BANNED.search(line)
        if m and not (path.startswith("tests/") and m.group(1) in ("system", "popen", "assert")):
            problem(path, number, f"{m.group(1)}() is banned" + (": CHECK() stays in release builds" if m.group(1) == "assert" else ""))
        if "//" in line:
            problem(path, number, "// comment: write /* a sentence. */")
    if len(lines) > MAX_FILE and not path.startswith("tests/"):
        problem(path, 1, f"{len(lines)} lines, at most {MAX_FILE}: one story each")
    check_includes(path, raw, layers, doors)
    if path.endswith(".c") and not path.startswith("tests/"):
        check_functions(path, code)


def check_tests(names):
    """Each src module with a .c file has a test that names it, or one that includes its header."""
    tests = {n: open(os.path.join(ROOT, n), encoding="utf-8").read() for n in names if n.startswith("tests/") and n.endswith(".c")}
    for n in names:
        if not (n.startswith("src/") and n.endswith(".h")) or HEADERS_WITHOUT_TEST.search("/" + n):
            continue
        module = os.path.basename(n)[:-2]
        include = "/".join(n.split("/")[1:])
        if n[:-2] + ".c" not in names:  # inline code and private parts are tested through their users
            continue
        if f"tests/unit/{module}_test.c" not in tests and not any(f'"{include}"' in t for t in tests.values()):
            problem(n, 1, "no test includes this header")


def check_text(path):
    try:
        text = open(os.path.join(ROOT, path), encoding="utf-8").read()
    except UnicodeDecodeError:
        return
    for number, line in enumerate(text.split("\n"), 1):
        if re.search(r"(?<![\w.])/(work|farm|root)/", line) and not path.startswith("tests/tidy/"):
            problem(path, number, "a machine path")
        if path.endswith(".md") and re.match(r"\s*#+\s*(TODO|TBD)\b", line):
            problem(path, number, "a heading that only says TODO")


def main():
    layers, doors = read_layers()
    names = files()
    for n in names:
        if n.startswith("tests/data/") or "/corpus/" in n:
            continue
        if n.endswith((".c", ".h")):
            check_source(n, layers, doors)
        if n.endswith((".c", ".h", ".md", ".txt", ".cmake", ".sh", ".py", ".proto", ".conf", ".json", ".service", ".yaml")):
            check_text(n)
    check_tests(names)
    seen = {}
    for n in names:
        if n.endswith((".c", ".h")) and not n.startswith("tests/"):
            base = os.path.basename(n)
            if base not in ("main.c", "loop.c", "loop.h") and base in seen:
                problem(n, 1, f"same file name as {seen[base]}")
            seen[base] = n
    print("\n".join(problems) if problems else f"tidy: {len(names)} files, nothing to say")
    return 1 if problems else 0


sys.exit(main())
