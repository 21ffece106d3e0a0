"""The page of an evaluation's samples, or of two evaluations side by side: samples.html."""
from etils import epath

from mathrl.report.samples_page import write_samples_page
from mathrl.report.samples_source import Limits


def run(*, workdir: epath.PathLike, samples: str, against: str = '', output: str = '', limits: Limits = Limits(),
        config: str = '', dry_run: bool = False) -> None:
    """Writes `output` (workdir/samples.html by default) from the file `samples`, a samples.jsonl.

    against: that of an earlier run, whose outputs are then shown beside. ValueError where a file holds no such rows.
    """
    path = epath.Path(output) if output else epath.Path(workdir) / 'samples.html'
    if dry_run:
        print(f'samples: would write {path} from {samples}{f" against {against}" if against else ""}')
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_samples_page(path, samples, against or None, limits)
    print(f'samples: {path}')
