"""How long from a key press on a slider to the changed picture? In JupyterLab, in a real Chromium.

    python benchmarks/sliders.py                 # prints a table, writes benchmarks/sliders.json
    python benchmarks/sliders.py 00 06           # only these pages

Every page is run from top to bottom; then the last slider of each group of controls is moved with
the arrow keys, one move after the other. "kernel" is the time that Python spends on a move, with
nothing remembered from earlier moves; "browser" is the rest: the key, both ways through the
server, and the new picture on the screen. Page 00 gets one slider more, at its end, for which one
guided call of the UNet is decoded. While a move is under way, every frame of the browser is looked
at: does the picture vanish, does the height of the controls change?
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]

from jupyter_lab import CHROMIUM, IDLE, insert, missing, open_lab, run_page, step_aside  # noqa: E402

PAGES = ["00", "02", "04", "05", "06"]
SLOW = 0.5  # seconds; a slider whose moves take longer is moved less often
GOALS = {"one guided step": 80, "Seed": 1000}  # milliseconds in the kernel; a stored picture: 20
TIMED = """
def time_all_moves(path):
    import json, time  # inside, since a page may call its own things so

    under_way = []

    def timed(kind, name, stored):
        plain = getattr(kind, name)

        def move(self, change=None):
            if name == "_redraw":  # remember nothing, so that every move draws
                getattr(self, "_drawn", getattr(self, "_drawings", None)).clear()
            began, outermost = time.time(), not under_way
            under_way.append(name)
            plain(self, change)
            under_way.pop()
            ended = time.time()
            if outermost:
                with open(path, "a") as log:
                    print(json.dumps([began, ended, stored(self)]), file=log)

        setattr(kind, name, move)

    timed(widgets.Live, "_redraw", lambda self: [*self.controls.values()][-1].continuous_update)
    timed(widgets.Studio, "_redraw", lambda self: False)
    timed(widgets.Studio, "_scrub", lambda self: True)

time_all_moves(LOG)
"""
ONE_STEP = """
from boringfusion_lite import guidance

begin, either = sd.noise(SEED), (sd.encode(PROMPT), sd.encode(""))
ask = guidance.guided(sd.unet, *either, GUIDANCE)

def one_step(t):
    alpha_bar = sd.schedule.alphas_cumprod[t]
    with torch.no_grad():
        eps = ask(begin, torch.tensor([t], device=sd.device))
    guess = (begin - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()
    return plots.strip(sd.decode(guess)), f"t = {t}"

widgets.live(one_step, t=widgets.Slider("one guided step", 500, 999, 1, 900))
"""
WATCH = """image => {
    const clock = () => performance.timeOrigin + performance.now();
    const box = image.closest('.widget-vbox'), heights = new Set();
    window.lastMove = new Promise(resolve => {
        let pressed = 0, blank = 0, over = false;
        const look = () => {
            heights.add(box.offsetHeight);
            blank += image.clientHeight == 0;
            if (!over) requestAnimationFrame(look);
        };
        look();
        document.addEventListener('keydown', () => pressed ||= clock(), {capture: true});
        const observer = new MutationObserver(async () => {
            observer.disconnect();
            await image.decode().catch(() => 0);
            requestAnimationFrame(() => setTimeout(() => {
                over = true;
                resolve({pressed, shown: clock(), blank, heights: [...heights]});
            }));
        });
        observer.observe(image, {attributes: true, attributeFilter: ['src']});
        setTimeout(() => { over = true; resolve(null); }, 30000);
    });
}"""


def move(page, widget, handle) -> dict | None:
    """One stop with the keyboard: when (milliseconds since 1970) and what was seen meanwhile."""
    widget.locator(".widget-image").evaluate(WATCH)
    handle.focus()
    page.keyboard.press(step_aside(handle))
    seen = page.evaluate("window.lastMove")
    page.wait_for_function(IDLE)
    return seen if seen and seen["pressed"] else None


def measure(page, widget, label: str, log: Path, moves: int) -> dict | None:
    """Milliseconds of up to `moves` moves of one slider, the first, which warms up, not counted."""
    handle = widget.locator(".widget-slider", has_text=label).locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    row = {"slider": label, "stored": None, "kernel": [], "browser": [], "blank": 0}
    heights = set()
    for number in range(moves + 1):
        log.write_text("")
        seen = move(page, widget, handle)
        page.wait_for_timeout(100)  # the kernel has written its line
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        if not seen or not lines:
            if number > 2:  # its other stops show the same picture
                break
            continue
        began, ended, row["stored"] = lines[0]
        if number:
            took = 1000 * (ended - began)
            row["kernel"].append(round(took, 1))
            row["browser"].append(round(seen["shown"] - seen["pressed"] - took, 1))
        row["blank"] += seen["blank"]
        heights |= set(seen["heights"])
        if ended - began > SLOW and len(row["kernel"]) >= moves // 2:
            break
    return row | {"heights": sorted(heights)} if row["kernel"] else None


def measure_page(browser, address: str, name: str, log: Path, moves: int) -> list[dict]:
    """The last slider of every group of controls on a page; of the studio, two."""
    with run_page(browser, address, name) as page:
        page.wait_for_function(IDLE, timeout=600_000)
        page.wait_for_timeout(5000)  # the studio has developed its film
        print(f"moving the sliders of {name}", file=sys.stderr, flush=True)
        failed = page.locator(".jp-Notebook [data-mime-type*='stderr']")
        if failed.count():
            raise SystemExit(f"{name} did not run through:\n{failed.first.inner_text()}")
        found = page.locator(".widget-vbox", has=page.locator(".widget-image"))
        rows = []
        for widget in [found.nth(number) for number in range(found.count())]:
            labels = widget.locator(".widget-slider .widget-label").all_inner_texts()
            picked = ["Look at step", "Seed"] if "Seed" in labels else labels[-1:]
            rows += [measure(page, widget, label, log, moves) for label in picked]
        print("done", file=sys.stderr, flush=True)
    return [{"page": name[:2]} | row for row in rows if row]


def table(rows: list[dict]) -> str:
    """Medians and worst cases as lines of text."""
    head = f"{'page and slider':36}{'picture':10}{'moves':>6}{'goal ms':>8}"
    lines = [f"{head}{'kernel ms (worst)':>19}{'browser ms (worst)':>19}{'both':>6}  steady"]
    for row in rows:
        parts = row["kernel"], row["browser"]
        cells = [f"{statistics.median(part):.1f} ({max(part):.0f})" for part in parts]
        both = statistics.median(map(sum, zip(*parts)))
        goal = GOALS.get(row["slider"], 20 if row["stored"] else "")
        what = "stored" if row["stored"] else "drawn"
        steady = "yes" if len(row["heights"]) == 1 and not row["blank"] else "NO"
        line = f"{row['page'] + ' ' + row['slider']:36}{what:10}{len(row['kernel']):>6}{goal:>8}"
        lines.append(f"{line}{cells[0]:>19}{cells[1]:>19}{both:>6.0f}  {steady}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", default=PAGES, help=f"{' '.join(PAGES)} unless given")
    parser.add_argument("--moves", type=int, default=20, help="of each slider (20)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    if reason := missing():
        raise SystemExit(f"Sliders cannot be timed here: {reason}.")
    rows = []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        log = Path(home) / "times"
        browser = play.chromium.launch(executable_path=CHROMIUM)
        with open_lab(Path(home) / "lab") as (address, folder):
            for number in args.pages:
                page = next(folder.glob(f"{number}_*.ipynb"))
                if number == "00":
                    insert(page, ONE_STEP)
                insert(page, TIMED.replace("LOG", repr(str(log))), place=2)
                rows += measure_page(browser, address, page.name, log, args.moves)
        browser.close()
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    when = time.strftime("%Y-%m-%d")
    report = {"machine": machine, "date": when, "unit": "milliseconds", "sliders": rows}
    report["load"] = os.getloadavg()[1]  # of five minutes; more than ours means a busy machine
    args.output.write_text(json.dumps(report).replace('{"page"', '\n{"page"') + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
