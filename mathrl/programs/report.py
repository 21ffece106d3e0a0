"""The report: reads the folders of runs and evaluations, writes report.html and summary.json."""
import json
import time

from etils import epath

from mathrl.report import goodput, page, rollouts_source, sources, tables


def run(*, workdir, config: str = '', dry_run: bool = False, runs: dict[str, str] | None = None,
        evaluations: dict[str, str] | None = None, stages: str = '', output: str = '',
        title: str = 'Training report', rollouts: int = 10_000, refresh: float = 0) -> None:
    """Writes <output>/report.html and <output>/summary.json (output: workdir by default).

    runs: name -> folder of a training run, for its curves. evaluations: name -> folder of an evaluation; the first
    is shown as before, the last as after. stages: folder of the stages run, for the times. rollouts: at most so many of
    the outputs that the runs kept are on the page. refresh: seconds; the report is made again so often until it is
    stopped, and an opened page loads itself anew (0: it is made once). ValueError where a folder does not hold what it
    should.
    """
    runs, evaluations = runs or {}, evaluations or {}
    folder = epath.Path(output or workdir)
    if not runs and not evaluations:
        raise ValueError('the report got neither runs nor evaluations; it needs at least one folder to show')
    if dry_run:
        for kind, folders in (('run', runs), ('evaluation', evaluations)):
            for name, path in folders.items():
                print(f'report: {kind} {name} from {path}')
        print(f'report: would write {folder / "report.html"} and {folder / "summary.json"}')
        return
    while True:
        _write(folder, runs, evaluations, stages, title, config, rollouts, refresh)
        print(f'report: {folder / "report.html"}', flush=True)
        if not refresh:
            return
        time.sleep(refresh)


def _write(folder: epath.Path, runs: dict[str, str], evaluations: dict[str, str], stages: str, title: str, config: str,
           rollouts: int, refresh: float) -> None:
    read_runs = [sources.read_run(name, path) for name, path in runs.items()]
    read_evaluations = [sources.read_evaluation(name, path) for name, path in evaluations.items()]
    read_stages = sources.read_stages(stages) if stages else []
    seconds = sum(seconds for _, seconds in read_stages) if stages else None
    kept, all_kept = rollouts_source.read(runs, rollouts)
    html = page.render(title=title, runs=read_runs, evaluations=read_evaluations, stages=read_stages, config=config,
                       rollouts=kept, all_rollouts=all_kept, refresh=refresh)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / 'report.html.partial'
    partial.write_text(html, encoding='utf-8')
    partial.replace(folder / 'report.html')     # a browser that loads it now gets a whole page
    summary = tables.summarize(read_evaluations, seconds)
    if shares := {run.name: found for run in read_runs if (found := goodput.shares(run))}:
        summary['goodput'] = shares
    (folder / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
