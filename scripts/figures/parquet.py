"""Parquet files as pyarrow writes them: writes test/figures/parquet/. Run by hand: python3 parquet.py (made with pyarrow
25). All hold the same 7 rows; rows.json has them."""
import datetime
import decimal
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).resolve().parents[2] / "test/figures/parquet"
folder.mkdir(exist_ok=True)
n = 7
table = pa.table({
    "id": pa.array([2**53 + i for i in range(n)], pa.int64()),
    "small": pa.array([-3, 4, None, 127, -128, 0, 1], pa.int8()),
    "unsigned": pa.array([2**32 - 1, 0, 1, 2, 3, 4, 5], pa.uint32()),
    "float": pa.array([0.5, None, float("inf"), -1.25, 1e-3, 3, 4], pa.float32()),
    "double": pa.array([i / 3 for i in range(n)], pa.float64()),
    "flag": pa.array([i % 3 == 0 for i in range(n)]),
    "color": pa.array(["red", "green", None, "blue", "red", "red", "é"]),
    "price": pa.array([decimal.Decimal("1.25") * i for i in range(n)], pa.decimal128(9, 2)),
    "day": pa.array([datetime.date(2020, 1, 1 + i) for i in range(n)]),
})
for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    pq.write_table(table, folder / f"{codec}.parquet", compression=codec, row_group_size=4 if codec == "snappy" else None)
pq.write_table(table, folder / "plain.parquet", compression="snappy", use_dictionary=False, data_page_version="2.0")
pq.write_table(table.append_column("list", pa.array([[i] for i in range(n)])), folder / "nested.parquet")
rows = [{k: v if isinstance(v, (str, bool, type(None))) else str(v) for k, v in row.items()} for row in table.to_pylist()]
(folder / "rows.json").write_text(json.dumps(rows, indent=0) + "\n")
