%% @doc A stand-in for the application of the same name, which Zotonic has: queues of one job at a time.
-module(jobs).

-export([run/2, queue_info/1, add_queue/2]).

-spec run(atom(), fun(() -> Result)) -> Result.
run(Queue, Fun) ->
    global:trans({{?MODULE, Queue}, self()}, Fun, [node()]).

-spec queue_info(atom()) -> {queue, list()} | undefined.
queue_info(Queue) ->
    host:get({queue, Queue}, undefined).

-spec add_queue(atom(), list()) -> ok.
add_queue(Queue, Options) ->
    host:set({queue, Queue}, {queue, Options}).
