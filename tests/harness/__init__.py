"""The parts of tests/runner: plan (what to run), build (meson and ninja), execute (one program), report (the closing)."""
