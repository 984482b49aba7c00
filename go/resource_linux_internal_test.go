//go:build linux

package weir

import "testing"

func TestStartTicksSurviveAnyProcessName(t *testing.T) {
	line := "7 (a) b (c d) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 1"
	if got := startTicks([]byte(line)); got != 4242 {
		t.Errorf("startTicks = %d", got)
	}
	for _, bad := range []string{"", "7 (a", "7 (a) S 1"} {
		if got := startTicks([]byte(bad)); got != 0 {
			t.Errorf("startTicks(%q) = %d", bad, got)
		}
	}
}
