"""Twenty-six weak spots that control planes of this kind are known to have had, as what Rune does instead.

Each is the promise `weak-spot.NN`, and tests/unit/test_promises.py fails for one without a test. Those that
can be asked of a running server are in tests/system/weak_spots; a search for the id finds the others.
"""

from __future__ import annotations

from typing import Final

WEAK_SPOTS: Final = {
    1: "REST is there, and does what gRPC does.",
    2: "With TLS switched on no door answers in the clear.",
    3: "A server is bootstrapped once, also for those on its own machine.",
    4: "The list of a namespace shows nothing of another whose name begins like it.",
    5: "A right to create and update in one namespace counts in that namespace.",
    6: "Every method has a right of its own: namespaces, watches, tokens and actions on instances too.",
    7: "No read shows the value of a secret, nor an environment that one was put into.",
    8: "Credentials of registries are not given back, and stand in no file in the clear.",
    9: "A secret that looks like base64 is handed over as it was given.",
    10: "Every field of a service that a file names arrives, and is shown again.",
    11: "Every document of a file is cast.",
    12: "Names may have all the letters that they may have on the server.",
    13: "`rune logs --tail 0` is an answer, and logs that are not followed end at once.",
    14: "The exit code of a command that was run inside is the exit code here.",
    15: "`rune delete --now` deletes now.",
    16: "A name that is taken, reserved or not there is the caller's mistake, never Internal.",
    17: "A probe's thresholds count, and it asks the copy where that is.",
    18: "Services of one name in two namespaces have nothing to do with each other.",
    19: "A changed service is replaced bit by bit, and is there all the while.",
    20: "What goes wrong in the middle of a pull is told.",
    21: "A watch that is read slowly misses nothing, or says that it did.",
    22: "Nothing goes on running, or stays stored, after its namespace is deleted.",
    23: "What is said of a service's health was asked of it.",
    24: "Every option of the commands does something: --force, --tag, --rollback-on-fail, --no-headers.",
    25: "No history grows for ever.",
    26: "`rune cast` waits until what it cast is ready, and fails when that fails.",
}
