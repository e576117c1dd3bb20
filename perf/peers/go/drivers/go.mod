module raftwire/perf/peers/drivers

go 1.26.0
