"""Regular expressions of the request models, each with the sentence that a mismatch earns.

Written so that Rust's (pydantic), Python's and JavaScript's engines agree on them.
"""

NO_CONTROLS = r"^[^\u0000-\u001f\u007f-\u009f]+$"
NO_CONTROLS_OR_EMPTY = r"^[^\u0000-\u001f\u007f-\u009f]*$"
# Not \S: the engines differ on U+0085 and U+001C, among others. These are Python's blanks.
NOT_BLANK = (
    r"[^\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
)
LANGUAGE_TAG = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$"

SENTENCES = {
    NO_CONTROLS: "must not hold control characters",
    NO_CONTROLS_OR_EMPTY: "must not hold control characters",
    NOT_BLANK: "must not be blank",
    LANGUAGE_TAG: "must be a language tag such as en or de-CH",
}
