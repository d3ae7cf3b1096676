"""What went wrong, as the banners say it: one problem a place, until it is mended or dismissed."""

from __future__ import annotations

from fmviz.app.state import Place, Problem, Store
from fmviz.engine.messages import TrustWanted


class Problems:
    """Puts problems into the state, and takes them away."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def tell(
        self,
        place: Place,
        message: str,
        mended_by: tuple[str, ...] = (),
        details: str = "",
        *,
        outlasts_a_run: bool = False,
        trust: TrustWanted | None = None,
        until_dismissed: bool = False,
    ) -> None:
        """Says so over the view that it concerns, in the stead of what was said there; what is shown stays.

        What is there until it is dismissed stays as well: the message is added to it.

        Args:
            mended_by: names of the actions that the banner offers.
            details: for who wants to know more.
            outlasts_a_run: it is about something else than the next run, which does not take it away.
            trust: the file of code that it is about.
            until_dismissed: nothing but the user takes it away.
        """
        others = tuple(problem for problem in self._store.state.problems if problem.place != place)
        there = self._store.state.problem(place)
        if there is not None and there.until_dismissed:
            # What it offers must not be lost for another piece of news.
            if message not in there.message:
                message = f"{there.message} {message}"
                mended_by = (*there.remedies, *mended_by)
            else:
                message, mended_by = there.message, there.remedies
            until_dismissed = True
        problem = Problem(place, message, mended_by, details, outlasts_a_run, trust, until_dismissed)
        self._store.update(problems=(*others, problem))

    def dismiss(self, place: Place) -> None:
        """Takes away what is said there."""
        self._store.update(problems=tuple(one for one in self._store.state.problems if one.place != place))
