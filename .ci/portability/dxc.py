"""Compiles HLSL files with DXC, as Direct3D 12 would: dxc.py LIBRARY FOLDER.

The first line of each file is a comment with the profile and the entry point. Prints what fails, and a count.
"""

import ctypes
import json
import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

UTF8 = 65001
# Places in tables of virtual functions: three of IUnknown, and its destructor, which is two outside Windows.
FIRST = 5


class Source(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("size", ctypes.c_size_t), ("encoding", ctypes.c_uint32)]


def guid(text):
    return (ctypes.c_char * 16).from_buffer_copy(uuid.UUID(text).bytes_le)


COMPILER = guid("73e22d93-e6ce-47f3-b5bf-f0664f39c1b0")
ICOMPILER3 = guid("228b4687-5a6a-4730-900c-9702b2203f54")
IRESULT = guid("58346cda-dde7-4497-9461-6f87af5e0659")


def call(this, place, result, *arguments):
    """Calls a virtual function of a COM object."""
    table = ctypes.cast(this, ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p)))[0]
    types = [type(argument) for argument in arguments]
    return ctypes.CFUNCTYPE(result, ctypes.c_void_p, *types)(table[place])(this, *arguments)


def address(of):
    return ctypes.c_void_p(ctypes.addressof(of))


def bytes_of(blob):
    start = call(blob, FIRST, ctypes.c_void_p)
    size = call(blob, FIRST + 1, ctypes.c_size_t)
    return ctypes.string_at(start, size) if start and size else b""


class Dxc:
    def __init__(self, path):
        library = ctypes.CDLL(str(path))
        self.compiler = ctypes.c_void_p()
        status = library.DxcCreateInstance(COMPILER, ICOMPILER3, ctypes.byref(self.compiler))
        if status != 0:
            sys.exit(f"dxc: no compiler: {status & 0xFFFFFFFF:#x}")

    def compile(self, text, profile, entry):
        """What is wrong with a text; an empty one for nothing."""
        words = ["-E", entry, "-T", profile, "-no-warnings"]
        if profile > "cs_6_1":
            words.append("-enable-16bit-types")
        arguments = (ctypes.c_wchar_p * len(words))(*words)
        buffer = ctypes.create_string_buffer(text, len(text))
        source = Source(ctypes.addressof(buffer), len(text), UTF8)
        result = ctypes.c_void_p()
        status = call(
            self.compiler, FIRST, ctypes.c_int32, address(source), address(arguments),
            ctypes.c_uint32(len(words)), ctypes.c_void_p(), address(IRESULT), address(result),
        )
        if status != 0 or not result:
            return f"status {status & 0xFFFFFFFF:#x}"
        inner, errors, made = ctypes.c_int32(), ctypes.c_void_p(), ctypes.c_void_p()
        call(result, FIRST, ctypes.c_int32, address(inner))
        call(result, FIRST + 1, ctypes.c_int32, address(made))
        call(result, FIRST + 2, ctypes.c_int32, address(errors))
        told = bytes_of(errors).decode(errors="replace").strip() if errors else ""
        is_made = inner.value == 0 and made and bytes_of(made)[:4] == b"DXBC"
        for one in (made, errors, result):
            if one:
                call(one, 2, ctypes.c_uint32)
        return "" if is_made else told or f"status {inner.value & 0xFFFFFFFF:#x}"


def compile_all(library, paths):
    """A line for each file as soon as it is compiled, with what is wrong."""
    dxc = Dxc(library)
    for path in paths:
        text = Path(path).read_bytes()
        profile, entry = text.split(b"\n", 1)[0].decode().removeprefix("// ").split()
        print(json.dumps(dxc.compile(text, profile, entry)), flush=True)


def results(library, paths):
    """What is wrong with each file. DXC aborts at some, so it runs in processes of its own."""
    while paths:
        command = [sys.executable, __file__, "--these", library, *paths]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        yield from zip(paths, told)
        paths = paths[len(told):]
        if done.returncode != 0 and paths:
            yield paths[0], f"DXC ended by itself, with {done.returncode}"
            paths = paths[1:]


def main():
    library, folder = sys.argv[1:]
    mistake = "[numthreads(1, 1, 1)] void main() { missing(); }"
    if not Dxc(library).compile(mistake.encode(), "cs_6_0", "main"):
        sys.exit("dxc: a text with a mistake was not refused")
    paths = sorted(str(path) for path in Path(folder).glob("*.hlsl"))
    chunks = [paths[at:at + 100] for at in range(0, len(paths), 100)]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for chunk in pool.map(lambda chunk: list(results(library, chunk)), chunks):
            for path, wrong in chunk:
                failed += bool(wrong)
                if wrong:
                    print(f"dxc: {Path(path).name}: {wrong[:400]}", flush=True)
    print(f"DXC: {len(paths)} kernels as HLSL, {failed} refused")
    sys.exit(failed > 0 or not paths)


if sys.argv[1] == "--these":
    compile_all(sys.argv[2], sys.argv[3:])
else:
    main()
