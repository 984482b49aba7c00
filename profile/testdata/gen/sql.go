package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
)

// memory is a driver with one endless result and no server behind it.
type memory struct{}

func (memory) Open(string) (driver.Conn, error)           { return memory{}, nil }
func (memory) Prepare(string) (driver.Stmt, error)        { return memory{}, nil }
func (memory) Close() error                               { return nil }
func (memory) Begin() (driver.Tx, error)                  { return memory{}, nil }
func (memory) Commit() error                              { return nil }
func (memory) Rollback() error                            { return nil }
func (memory) NumInput() int                              { return 0 }
func (memory) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }
func (memory) Query([]driver.Value) (driver.Rows, error)  { return endless{}, nil }

type endless struct{ io.Closer }

func (endless) Columns() []string           { return []string{"n"} }
func (endless) Close() error                { return nil }
func (endless) Next(v []driver.Value) error { v[0] = int64(1); return nil }

var unfinished []any

// 4 transactions without an end, 3 results never closed under a cancellable context, 5 callers that wait for a
// connection of a pool of 7.
func shapeSQL() {
	sql.Register("memory", memory{})
	database, err := sql.Open("memory", "")
	check(err)
	database.SetMaxOpenConns(7)
	for range 4 {
		transaction, err := database.Begin()
		check(err)
		unfinished = append(unfinished, transaction)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 3 {
		rows, err := database.QueryContext(ctx, "select")
		check(err)
		unfinished = append(unfinished, rows)
	}
	for range 5 {
		go waitForPool(database)
	}
	settle("database/sql.(*DB).conn", 5)
	settle("database/sql.(*Rows).awaitDone", 3)
	dump("goroutine", "sql.goroutine")
}

func waitForPool(database *sql.DB) {
	transaction, err := database.Begin()
	check(err)
	check(transaction.Rollback())
}
