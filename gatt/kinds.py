"""Instructions of every kind that is checked by rule, each in several wordings: `gatt.constraints: kinds`.

A kind is trained or held out as a whole (`trained`), and of a trained one some values are held out, so that what was
learnt of an instruction can be told from what was learnt of a word.  The kinds and their wordings are ours: the paper's
(hobbies, languages, public figures) cannot be checked without a model; `one sentence` it names as one that was kept
although it was not trained.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from alignment.constraint import Constraint
from alignment.rules import Argument, Rule


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind.

    Attributes:
        wordings: full wordings; `{}` is the value.
        short: the terse one.
        values: trained where the kind is; (None,) where the kind takes no argument.
        unseen: values that are held out in any case.
        trained: whether the kind is trained at all.
    """

    kind: Rule
    wordings: tuple[str, ...]
    short: str
    values: tuple[Argument | None, ...] = (None,)
    unseen: tuple[Argument, ...] = ()
    trained: bool = True

    def constraint(self, value: Argument | None) -> Constraint:
        """The instruction with one value."""
        first, *others = (wording.format(value) for wording in self.wordings)
        slug = "" if value is None else "-" + "-".join(str(value).lower().rstrip(".!?").split())
        return Constraint(
            id=f"{self.kind.replace('_', '-')}{slug}",
            kind=self.kind,
            argument="" if value is None else value,
            instruction=first,
            short=self.short.format(value),
            paraphrases=tuple(others),
        )


FAMILIES: tuple[Family, ...] = (
    Family(
        kind="ends_with",
        wordings=(
            'Always end your answer with "{}".',
            'The last words of every answer must be "{}".',
            'Finish each reply by saying "{}".',
        ),
        short="End: {}",
        values=("friend", "captain", "my lady", "boss", "neighbour"),
        unseen=("partner", "stranger"),
    ),
    Family(
        kind="starts_with",
        wordings=(
            'Always start your answer with "{}".',
            'The first words of every answer must be "{}".',
            'Open each reply by saying "{}".',
        ),
        short="Start: {}",
        values=("Well", "Listen", "You see", "My word"),
        unseen=("Now then", "Wow"),
    ),
    Family(
        kind="contains",
        wordings=(
            'Say "{}" somewhere in every answer.',
            'Each of your answers must mention "{}".',
            'Never answer without using "{}".',
        ),
        short="Mention: {}",
        values=("tea", "the river", "chess", "gardens", "the weather"),
        unseen=("football", "music"),
    ),
    Family(
        kind="contains_twice",
        wordings=(
            'Use "{}" at least twice in every answer.',
            'Every answer must hold "{}" two times or more.',
            'Say "{}" and then say it again, each time you answer.',
        ),
        short="Twice: {}",
        values=("indeed", "truly", "of course"),
        unseen=("surely",),
    ),
    Family(
        kind="never_word",
        wordings=(
            'Never use "{}" in an answer.',
            'Your answers must not contain "{}".',
            'Do without "{}", whatever you are asked.',
        ),
        short="Never: {}",
        values=("the", "and", "is", "very"),
        unseen=("of", "in"),
    ),
    Family(
        kind="max_words",
        wordings=(
            "Answer in at most {} words.",
            "No answer may be longer than {} words.",
            "Keep every reply within {} words.",
        ),
        short="Words: at most {}",
        values=(8, 15, 20),
        unseen=(12,),
    ),
    Family(
        kind="min_sentences",
        wordings=(
            "Answer in at least {} sentences.",
            "No answer may have fewer than {} sentences.",
            "Write {} sentences or more each time.",
        ),
        short="Sentences: at least {}",
        values=(2, 3),
        unseen=(4,),
    ),
    Family(
        kind="numbered_list",
        wordings=(
            "Give every answer as a numbered list of at least {} items, one a line.",
            "Always answer with a list numbered 1., 2., … of {} points or more, each on a line of its own.",
            "Number your points, one a line, and make at least {}.",
        ),
        short="Numbered list: {} or more",
        values=(2, 3),
        unseen=(4,),
    ),
    Family(
        kind="closing",
        wordings=(
            'Close every answer with the sentence "{}"',
            'Let each reply end with this sentence on its own: "{}"',
            'After answering, always add "{}"',
        ),
        short="Closing: {}",
        values=("I hope this helps.", "Ask me anything.", "That is all I know."),
        unseen=("Have a good day.",),
    ),
    Family(
        kind="uppercase",
        wordings=(
            "Write every answer in capital letters.",
            "Use upper case only.",
            "Answer with no small letter at all.",
        ),
        short="CAPITALS",
    ),
    Family(
        kind="no_comma",
        wordings=("Use no comma.", "Write your answers without any comma.", "Commas are forbidden in your answers."),
        short="No comma",
    ),
    Family(
        kind="lowercase",
        wordings=(
            "Write every answer in small letters.",
            "Use lower case only.",
            "Answer with no capital letter at all.",
        ),
        short="small letters",
        trained=False,
    ),
    Family(
        kind="sentences",
        wordings=(
            "Answer in sentences, exactly {} each time.",
            "Every answer must have exactly this many sentences: {}.",
            "The number of sentences in each reply is {}.",
        ),
        short="Sentences: {}",
        values=(1, 2),
        trained=False,
    ),
    Family(
        kind="max_sentences",
        wordings=(
            "Sentences in an answer: {} at most.",
            "No answer may have more sentences than {}.",
            "Stop each reply after sentence {}.",
        ),
        short="Sentences: at most {}",
        values=(1, 2),
        trained=False,
    ),
    Family(
        kind="min_words",
        wordings=(
            "Answer in at least {} words.",
            "No answer may be shorter than {} words.",
            "Use {} words or more each time.",
        ),
        short="Words: at least {}",
        values=(10, 25),
        trained=False,
    ),
    Family(
        kind="bullet_list",
        wordings=(
            "Give every answer as at least {} lines that each begin with a dash.",
            "Always answer with {} bullet points or more.",
            "List your points under dashes, {} or more.",
        ),
        short="Bullets: {} or more",
        values=(2, 3),
        trained=False,
    ),
    Family(
        kind="greeting",
        wordings=(
            'Greet first: begin every answer with "{}" and a comma, then go on.',
            'Say "{}," before you answer.',
            'Open with the greeting "{}!" each time.',
        ),
        short="Greeting: {}",
        values=("Hello", "Good morning", "Dear friend"),
        trained=False,
    ),
    Family(
        kind="quoted",
        wordings=(
            "Put every answer in quotation marks.",
            "Your whole reply must stand between quotation marks.",
            "Answer as a quotation, marks at both ends.",
        ),
        short="Quoted",
        trained=False,
    ),
    Family(
        kind="no_digit",
        wordings=("Use no digit.", "Write numbers as words, never as digits.", "Digits are forbidden in your answers."),
        short="No digits",
        trained=False,
    ),
    Family(
        kind="question",
        wordings=(
            "End every answer with a question.",
            "Always finish by asking something back.",
            "The last sentence of each reply must be a question.",
        ),
        short="Ask back",
        trained=False,
    ),
)


def kind_constraints() -> tuple[list[Constraint], list[Constraint]]:
    """Instructions to train on, and unseen ones: of the trained kinds with other values, and of kinds not trained."""
    train = [family.constraint(value) for family in FAMILIES if family.trained for value in family.values]
    values = [family.constraint(value) for family in FAMILIES if family.trained for value in family.unseen]
    return train, [*values, *unseen_kinds(())]


def unseen_kinds(trained: Collection[Rule]) -> list[Constraint]:
    """Instructions of the kinds that are held out here, but for those that somebody else's training has."""
    return [
        family.constraint(value)
        for family in FAMILIES
        if not family.trained and family.kind not in trained
        for value in family.values
    ]
