"""The report: reads the folders of runs and evaluations, writes report.html and summary.json."""
import json

from etils import epath

from mathrl.report import page, sources, tables


def run(*, workdir, config: str = '', dry_run: bool = False, runs: dict[str, str] | None = None,
        evaluations: dict[str, str] | None = None, stages: str = '', output: str = '',
        title: str = 'Training report') -> None:
    """Writes <output>/report.html and <output>/summary.json (output: workdir by default).

    runs: name -> folder of a training run, for its curves. evaluations: name -> folder of an evaluation; the first
    is shown as before, the last as after. stages: folder of the stages run, for the times. ValueError where a folder
    does not hold what it should.
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
    read_runs = [sources.read_run(name, path) for name, path in runs.items()]
    read_evaluations = [sources.read_evaluation(name, path) for name, path in evaluations.items()]
    read_stages = sources.read_stages(stages) if stages else []
    seconds = sum(seconds for _, seconds in read_stages) if stages else None
    html = page.render(title=title, runs=read_runs, evaluations=read_evaluations, stages=read_stages,
                       config=config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'report.html').write_text(html, encoding='utf-8')
    summary = tables.summarize(read_evaluations, seconds)
    (folder / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    print(f'report: {folder / "report.html"}')
