"""Submissions that want credit without knowing the answer, or harm: what each tries, and how.

Each is the list of a notebook's cells for the exercise ``bn_forward``, and at the end for ``gradient_check``, whose
function takes another function. A function that is handed to the check is wrong, unless the attack finds the answer; so
a pass is a break-in.
"""

from bncourse.exercises import bn_forward, gradient_check
from tests.exercises.grading.notebooks import check, solution

NAME = bn_forward.solution_function.__name__
CHECK = check(bn_forward)
HEAD = f"def {NAME}(x, gamma, beta, eps):\n    "
ZEROS = f"import numpy as np\n\n{HEAD}return np.zeros(x.shape)"

# How a submission finds the pipe to the grader: it tries every file descriptor.
FLOOD = """
import os

def send(data):
    for descriptor in range(3, 64):
        try:
            while data:
                data = data[os.write(descriptor, data):]
        except OSError:
            pass
"""
FORGE = f"""{FLOOD}
import io, json, struct, zipfile
import numpy as np

def message(document, arrays, compression=zipfile.ZIP_STORED, allow_pickle=False):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("document.json", json.dumps(document))
        for name, array in arrays.items():
            with archive.open(name + ".npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=allow_pickle)
    data = buffer.getvalue()
    return len(data).to_bytes(8, "big") + data

def answer(outcome, array, count=6, **options):
    document = {{"exercise": "bn_forward",
                "attempts": [{{"outcome": outcome, "message": "", "changed": []}}] * count}}
    return message(document, {{f"{{i}}.0": array for i in range(count)}}, **options)
"""

HOSTILE = {
    "numpy that always agrees": [
        "import numpy as np\n"
        "for name in ('allclose', 'array_equal', 'isclose', 'all', 'any', 'abs', 'max', 'isfinite'):\n"
        "    setattr(np, name, lambda *args, **kwargs: True)\n"
        "np.testing.assert_allclose = lambda *args, **kwargs: None",
        ZEROS,
        CHECK,
    ],
    "builtins that always agree": [
        "import builtins\n"
        "builtins.all = builtins.any = builtins.isinstance = lambda *args: True\n"
        "builtins.abs = builtins.max = builtins.len = lambda *args: 0",
        ZEROS,
        CHECK,
    ],
    "a check that passes": [
        "import bncourse.exercises.attempt as attempt\nimport bncourse.exercises as exercises\n"
        "attempt.attempt = attempt.attempt_all = lambda *args: [attempt.Attempt('passed')]\n"
        "exercises.Exercise = exercises.Result = type('Result', (), {'outcome': 'passed'})",
        ZEROS,
        CHECK,
    ],
    "an object equal to everything": [
        "import numpy as np\n"
        "class Equal(np.ndarray):\n"
        "    def __sub__(self, other): return np.zeros(other.shape)\n"
        "    __rsub__ = __sub__\n"
        "    def __eq__(self, other): return True\n"
        "    def __le__(self, other): return True",
        f"{HEAD}return np.zeros(x.shape).view(Equal)",
        CHECK,
    ],
    "exit in a cell": ["import sys\nsys.exit(0)", ZEROS, CHECK],
    "exit in the function": [f"import sys\n{HEAD}sys.exit(0)", CHECK],
    "hard exit in a cell": ["import os\nos._exit(0)", ZEROS, CHECK],
    "hard exit in the function": [f"import os\n{HEAD}os._exit(0)", CHECK],
    "exit at the end": ["import atexit, os\natexit.register(os._exit, 0)", ZEROS, CHECK],
    "endless loop in the function": [f"{HEAD}while True: pass", CHECK],
    "endless loop that swallows its alarm": [
        "import signal\n"
        "signal.signal = lambda *args: None\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "while True: pass",
        ZEROS,
        CHECK,
    ],
    "sleep": [f"import time\n{HEAD}time.sleep(1e6)", CHECK],
    "segmentation fault": [f"import ctypes\n{HEAD}ctypes.string_at(0)", CHECK],
    "endless recursion": [
        "import sys\nsys.setrecursionlimit(10**9)",
        f"{HEAD}return {NAME}(x, gamma, beta, eps=eps)",
        CHECK,
    ],
    "fork bomb": ["import os\nwhile True:\n    os.fork()", ZEROS, CHECK],
    "fork bomb by system call": [
        "import ctypes\nlibc = ctypes.CDLL(None)\nwhile True:\n    libc.fork()\n    libc.syscall(56, 17, 0, 0, 0, 0)",
        ZEROS,
        CHECK,
    ],
    "thread bomb": [
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(1e6,)).start()",
        ZEROS,
        CHECK,
    ],
    "memory bomb": ["import numpy as np\nheld = []\nwhile True:\n    held.append(np.ones(2**24))", ZEROS, CHECK],
    "memory bomb by shared memory": [
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "if libc.shmget(0, 2**30, 0o1600) != -1 or libc.memfd_create(b'm', 0) != -1:\n"
        "    open_wall = True",
        f"import numpy as np\n{HEAD}\n"
        "    if 'open_wall' not in globals(): return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "disk bomb": [
        "import os\n"
        "for number in range(10**9):\n"
        "    with open(f'/tmp/{number}', 'wb') as file:\n"
        "        file.write(bytes(2**20))",
        ZEROS,
        CHECK,
    ],
    "huge output": ["while True:\n    print('x' * 2**20)", ZEROS, CHECK],
    "huge result": [f"import numpy as np\n{HEAD}return np.zeros((2**14, 2**10))", CHECK],
    "flooded pipe": [f"{FLOOD}\nwhile True:\n    send(bytes(2**20))", ZEROS, CHECK],
    "forged verdict": [f"{FORGE}\nsend(answer('passed', np.zeros((9, 4))))\nos._exit(0)"],
    "forged answer": [f"{FORGE}\nsend(answer('ran', np.zeros((9, 4))))\nos._exit(0)"],
    "forged answer of NaN": [f"{FORGE}\nsend(answer('ran', np.full((9, 4), np.nan)))\nos._exit(0)"],
    "forged empty answer": [f"{FORGE}\nsend(answer('ran', np.zeros(0), count=0))\nos._exit(0)"],
    "forged short answer": [f"{FORGE}\nsend(answer('ran', np.zeros((9, 4)), count=1))\nos._exit(0)"],
    "forged answer of objects": [
        f"{FORGE}\n"
        "class Bomb:\n"
        "    def __reduce__(self): return (os.system, ('touch /tmp/bncourse-pickle-was-executed',))\n"
        "send(answer('ran', np.array([Bomb()], dtype=object), allow_pickle=True))\nos._exit(0)"
    ],
    "forged zip bomb": [
        f"{FORGE}\nsend(answer('ran', np.zeros(2**21), compression=zipfile.ZIP_DEFLATED))\nos._exit(0)"
    ],
    "forged header of a huge array": [
        f"{FORGE}\n"
        "header = b\"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}\"\n"
        "header += b' ' * (117 - len(header)) + b'\\n'\n"
        "data = b'\\x93NUMPY\\x01\\x00' + struct.pack('<H', len(header)) + header\n"
        "buffer = io.BytesIO()\n"
        "with zipfile.ZipFile(buffer, 'w') as archive:\n"
        "    archive.writestr('document.json', json.dumps({'exercise': 'bn_forward',\n"
        "        'attempts': [{'outcome': 'ran', 'message': '', 'changed': []}] * 6}))\n"
        "    for i in range(6):\n"
        "        archive.writestr(f'{i}.0.npy', data)\n"
        "send(len(buffer.getvalue()).to_bytes(8, 'big') + buffer.getvalue())\nos._exit(0)"
    ],
    "forged nested document": [
        f"{FORGE}\n"
        "buffer = io.BytesIO()\n"
        "with zipfile.ZipFile(buffer, 'w') as archive:\n"
        "    archive.writestr('document.json', '[' * 10**5)\n"
        "send(len(buffer.getvalue()).to_bytes(8, 'big') + buffer.getvalue())\nos._exit(0)"
    ],
    "forged noise": [f"{FORGE}\nsend(os.urandom(2**16))\nos._exit(0)"],
    "forged answer twice": [f"{FORGE}\nsend(answer('ran', np.zeros((9, 4))))\n" + ZEROS, CHECK],
    "NaN": [f"import numpy as np\n{HEAD}return np.full(x.shape, np.nan)", CHECK],
    "infinity": [f"import numpy as np\n{HEAD}return np.full(x.shape, np.inf)", CHECK],
    "numbers beyond float64": [f"import numpy as np\n{HEAD}return np.full(x.shape, np.longdouble('1e4000'))", CHECK],
    "objects": [f"import numpy as np\n{HEAD}return np.full(x.shape, None)", CHECK],
    "complex numbers": [f"import numpy as np\n{HEAD}return np.zeros(x.shape, complex)", CHECK],
    "text": [f"import numpy as np\n{HEAD}return np.full(x.shape, 'nan')", CHECK],
    "half precision": [f"import numpy as np\n{HEAD}return np.zeros(x.shape, np.float16)", CHECK],
    "inputs changed to fit": [f"{HEAD}x[...] = 0\n    gamma[...] = 0\n    beta[...] = 0\n    return x", CHECK],
    "the package's own function": [
        "from bncourse.reference import batch_norm",
        f"{HEAD}return batch_norm(x, gamma, beta, eps)[0]",
        CHECK,
    ],
    "the solution through inspect": [
        "import inspect\nimport bncourse.exercises as exercises",
        "from bncourse.exercises import bn_forward\nimport numpy as np\n"
        "try:\n"
        "    exec(inspect.getsource(bn_forward.solution_function))\n"
        "except Exception:\n"
        "    exec(str(bn_forward.solution()))",
        CHECK,
    ],
    "the solution through the garbage collector": [
        "import gc, types\n"
        f"found = [f for f in gc.get_objects() if type(f) is types.FunctionType and f.__name__ == '{NAME}']\n"
        f"{NAME} = found[0]",
        CHECK,
    ],
    "the solution through the modules": [
        "import sys, importlib\n"
        "for name in ('bncourse.exercises.tasks.bn_forward', 'bncourse.exercises.judge', 'bncourse'):\n"
        "    try:\n"
        "        module = importlib.import_module(name)\n"
        f"        {NAME} = module.{NAME}\n"
        "    except Exception:\n"
        "        pass",
        CHECK,
    ],
    "the solution through the file system": [
        "import os, sys\n"
        "import numpy as np\n"
        "roots = ['/work', '/home', '/root', '/tmp', '/autograder', '/grader', '/opt', '/srv', *sys.path]\n"
        "for root in roots:\n"
        "    for folder, folders, files in os.walk(root):\n"
        "        if folder.endswith('-packages') or folder.startswith('/packages') and folder.count('/') == 2:\n"
        "            folders[:] = [name for name in folders if 'bncourse' in name]\n"
        "        if 'bn_forward.py' in files:\n"
        "            source = open(os.path.join(folder, 'bn_forward.py')).read()\n"
        f"            exec(source[source.index('def {NAME}'):].split('\\n\\n\\n')[0])",
        CHECK,
    ],
    "the answers through the stack": [
        f"import sys\n{HEAD}\n"
        "    frame = sys._getframe()\n"
        "    while frame is not None:\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            for name in ('expected', 'right', 'answer', 'solution_function', 'reference'):\n"
        "                if hasattr(value, name):\n"
        "                    return getattr(value, name)(x, gamma, beta, eps=eps)\n"
        "                if name in frame.f_locals and getattr(frame.f_locals[name], 'shape', None) == x.shape:\n"
        "                    return frame.f_locals[name]\n"
        "        frame = frame.f_back\n"
        "    return x",
        CHECK,
    ],
    "the answers through other processes": [
        "import os\n"
        "secrets = [open(f'/proc/{pid}/{name}', 'rb').read()\n"
        "           for pid in ('1', 'self', str(os.getppid())) for name in ('environ', 'cmdline', 'mem')]\n"
        "proc_is_open = True",
        f"import numpy as np\n{HEAD}\n"
        "    if 'proc_is_open' not in globals(): return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "network": [
        "import socket\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n"
        "    try:\n"
        "        socket.socket(family)\n"
        "        network_is_open = True\n"
        "    except OSError:\n"
        "        pass",
        f"import numpy as np\n{HEAD}\n"
        "    if 'network_is_open' not in globals(): return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "another program": [
        "import os, subprocess, sys\n"
        "for act in (lambda: os.execv(sys.executable, [sys.executable, '-c', '']), lambda: subprocess.run(['sh']),\n"
        "            lambda: os.posix_spawn('/bin/sh', ['sh'], {})):\n"
        "    try:\n"
        "        act()\n"
        "        program_ran = True\n"
        "    except OSError:\n"
        "        pass",
        f"import numpy as np\n{HEAD}\n"
        "    if 'program_ran' not in globals(): return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "killing everybody": [
        "import os, signal\n"
        "for pid in (1, os.getppid(), -1, 0):\n"
        "    try:\n"
        "        os.kill(pid, signal.SIGKILL)\n"
        "    except OSError:\n"
        "        pass",
        ZEROS,
        CHECK,
    ],
    "more rights": [
        "import ctypes, os, resource\n"
        "libc = ctypes.CDLL(None)\n"
        "gained = [name for name, act in {\n"
        "    'user namespace': lambda: libc.unshare(0x10000000),\n"
        "    'mount': lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None),\n"
        "    'root': lambda: libc.setuid(0),\n"
        "    'ptrace': lambda: libc.ptrace(0, 0, 0, 0),\n"
        "}.items() if act() == 0]\n"
        "try:\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))\n"
        "    gained.append('memory')\n"
        "except (ValueError, OSError):\n"
        "    pass",
        f"import numpy as np\n{HEAD}\n"
        "    if not gained: return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "closing every file": ["import os\nos.closerange(0, 64)", ZEROS, CHECK],
    "markup and terminal codes": [
        f"{HEAD}raise ValueError('<script>alert(1)</script> \\x1b[2J \\u202e =1+1')",
        CHECK,
    ],
    "writing outside": [
        "import os\n"
        "written = []\n"
        "for folder in ('/', '/grader', '/packages', '/packages/0', '/usr/lib', '/dev', '/etc', '/home', '/root'):\n"
        "    try:\n"
        "        open(folder + '/bncourse-was-here', 'w').close()\n"
        "        written.append(folder)\n"
        "    except OSError:\n"
        "        pass",
        f"import numpy as np\n{HEAD}\n"
        "    if not written: return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
    "a message to the next student": [
        "import os\nimport numpy as np\nmet = os.path.exists('/tmp/for-you')\nopen('/tmp/for-you', 'w').close()",
        f"{HEAD}\n"
        "    if not met: return np.zeros(x.shape)\n"
        "    return gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta",
        CHECK,
    ],
}

GRADIENT_HEAD = f"def {gradient_check.solution_function.__name__}(function, x, dy):\n    "
GRADIENT_OF_ZEROS = f"import numpy as np\n\n{GRADIENT_HEAD}return np.zeros(x.shape)"
GRADIENT_CHECK = check(gradient_check)
THROUGH_A_FUNCTION = {
    "the answer in the function": [
        "import numpy as np\n\n"
        f"{GRADIENT_HEAD}for name in ('gradient', 'derivative', 'answer', 'expected', 'solution', '__wrapped__'):\n"
        "        if hasattr(function, name):\n"
        "            return getattr(function, name)(x) * dy\n"
        "    for held in (*vars(function).values(), *function.settings.values()):\n"
        "        if getattr(held, 'shape', None) == x.shape:\n"
        "            return np.asarray(held, float)\n"
        "    return np.zeros(x.shape)",
        GRADIENT_CHECK,
    ],
    "functions that are constant": [
        "import bncourse.exercises.functions as functions\nimport numpy as np\n"
        "for name, one in list(functions.FUNCTIONS.items()):\n"
        "    functions.FUNCTIONS[name] = lambda x, one=one, **settings: np.zeros_like(one(x.copy(), **settings))",
        solution(gradient_check),
        GRADIENT_CHECK,
    ],
    "a call that is constant": [
        "import bncourse.exercises.functions as functions\n"
        "functions.NamedFunction.__call__ = lambda self, x: 0.0 * x.sum()",
        GRADIENT_OF_ZEROS,
        GRADIENT_CHECK,
    ],
    "the package's own function": [
        "from bncourse.reference import numeric_gradient",
        f"{GRADIENT_HEAD}return numeric_gradient(function, x.astype(float), dy.astype(float))",
        GRADIENT_CHECK,
    ],
    "the solution through the modules": [
        "import importlib",
        f"{GRADIENT_HEAD}module = importlib.import_module('bncourse.exercises.tasks.gradient_check')\n"
        "    return module.faulty_gradient(frozenset(), {'function': function, 'x': x, 'dy': dy})[0]",
        GRADIENT_CHECK,
    ],
    "the answers through the stack": [
        f"import sys\nimport numpy as np\n\n{GRADIENT_HEAD}frame = sys._getframe().f_back\n"
        "    while frame is not None:\n"
        "        for held in list(frame.f_locals.values()):\n"
        "            for value in (held, *(held.values() if isinstance(held, dict) else ())):\n"
        "                if isinstance(value, np.ndarray) and value is not x and value.shape == x.shape:\n"
        "                    if not np.array_equal(value, x):\n"
        "                        return value.astype(float)\n"
        "        frame = frame.f_back\n"
        "    return np.zeros(x.shape)",
        GRADIENT_CHECK,
    ],
    "the answers through the garbage collector": [
        "import gc\nimport numpy as np\n\n"
        f"{GRADIENT_HEAD}above, below = x.astype(float), x.astype(float)\n"
        "    above.flat[0] += 1e-5\n"
        "    below.flat[0] -= 1e-5\n"
        "    first = ((np.array(function(above)) - function(below)) * dy).sum() / 2e-5\n"
        "    for holder in gc.get_objects():\n"
        "        items = holder.values() if type(holder) is dict else holder\n"
        "        for value in list(items) if type(holder) in (dict, list, tuple) else ():\n"
        "            if type(value) is np.ndarray and value.shape == x.shape and value.dtype == float:\n"
        "                if abs(value.flat[0] - first) < 1e-4 * abs(first):\n"
        "                    return value\n"
        "    return np.zeros(x.shape)",
        GRADIENT_CHECK,
    ],
    "a call after a call": [f"{GRADIENT_HEAD}while True: function(x.copy())", GRADIENT_CHECK],
    "a function that does not return": [
        "import bncourse.exercises.functions as functions\n"
        "def stuck(self, x):\n    while True: pass\n"
        "functions.NamedFunction.__call__ = stuck",
        solution(gradient_check),
        GRADIENT_CHECK,
    ],
}
