"""JSONL tables of sequences, written and read many lines at a time: ten times as fast as line by line."""

import json
from typing import BinaryIO

import numpy as np

from seqrev.data.sequences import Pairs, Sequences, group_by_length, smallest_integers
from seqrev.task import ENDED, TIMES_AS_LONG, RuleName, answer_length, apply_rule

BLOCK = 1_048_576  # bytes that are read together


def to_jsonl(sequences: Sequences, symbols: int, rule: RuleName) -> bytes:
    """A line for each sequence; those of one length together, as a table of bytes with equal room for every symbol.

    Answers that were given with the sequences are written as they are.

    >>> to_jsonl(Sequences(np.array([[4, 8, -1], [2, 9, 1]])), 10, "reverse").decode().splitlines()
    ['{"src": [4, 8], "tgt": [8, 4]}', '{"src": [2, 9, 1], "tgt": [1, 9, 2]}']
    """
    if isinstance(sequences, Pairs):
        rows = zip(sequences, sequences.targets, strict=True)
        return "".join(json.dumps({"src": source, "tgt": target}) + "\n" for source, target in rows).encode()
    digits = len(str(symbols - 1))
    before, between, after = b'{"src": [', b'], "tgt": [', b"]}\n"
    widths = len(before + between + after) + (digits + 2) * (sequences.lengths + answer_length(sequences.lengths, rule)) - 4
    ends = np.cumsum(widths)
    text = np.empty(widths.sum(), np.uint8)
    for indices, sources in group_by_length(sequences):
        answers = apply_rule(sources, rule)
        room, room_after = (b", ".join([b" " * digits] * table.shape[1]) for table in (sources, answers))
        line = np.frombuffer(before + room + between + room_after + after, np.uint8)
        table = np.empty((len(indices), len(line)), np.uint8)
        table[:] = line
        for numbers, start in ((sources, len(before)), (answers, len(before + room + between))):
            end = start + (digits + 2) * numbers.shape[1] - 2
            for column in range(digits):
                power = 10 ** (digits - 1 - column)
                digit = numbers // power % 10 + ord("0") if digits > 1 else numbers + ord("0")
                if power > 1:
                    digit[numbers < power] = 0  # nothing is written there
                table[:, start + column : end : digits + 2] = digit
        whole = np.dtype(f"V{len(line)}")  # a line as one element, to be put anywhere in the text
        anywhere = np.ndarray(len(text) - len(line) + 1, whole, text, strides=(1,))
        anywhere[ends[indices] - len(line)] = table.view(whole)[:, 0]
    return text.tobytes() if digits == 1 else text.tobytes().translate(None, b"\0")


def read_jsonl(file: BinaryIO, most: int, longest: int, symbols: int, rule: RuleName) -> Sequences | None:
    """Read what ``to_jsonl`` wrote: take all numbers out of the text, and write them again, which must give the same text.

    None where it does not, or there are more than ``most`` sequences, or longer ones, or other symbols; and where a table
    of the longest would take many times the memory of the text. Also where answers are not as long as their sources.
    """
    if rule == "pairs" or rule in TIMES_AS_LONG:
        return None
    digits_only = bytes(byte if chr(byte).isdigit() else ord(" ") for byte in range(128)).ljust(256)
    longest_text = 32 + 2 * (len(str(symbols)) + 2) * longest  # of a line: one without an end is not read to its end
    blocks = [np.empty((0, longest), smallest_integers(symbols))]
    room = 0  # symbols that the table may still have: eight for each byte that was read
    while text := file.read(BLOCK):
        text += file.readline(longest_text)
        lengths = np.array([line.count(b",") // 2 + 1 for line in text.splitlines()])
        most -= len(lengths)
        room += 8 * len(text) - len(lengths) * longest
        if most < 0 or room < 0 or lengths.max() > longest:
            return None
        numbers = np.fromstring(text.translate(digits_only), np.int64, sep=" ")
        if 2 * lengths.sum() != len(numbers) or numbers.max() >= symbols:
            return None
        rows = np.full((len(lengths), longest), ENDED, blocks[0].dtype)
        is_source = np.tile([True, False], len(lengths)).repeat(lengths.repeat(2))
        rows[np.arange(longest) < lengths[:, None]] = numbers[is_source]
        if to_jsonl(Sequences(rows, lengths), symbols, rule) != text:
            return None
        blocks.append(rows)
    return Sequences(np.concatenate(blocks))
