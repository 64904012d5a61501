"""DAGs of every shape of mapping, without the imports that either version of Airflow needs: `record_mapping.py`."""

# ruff: noqa: F821


def got(**arguments):
    """Write down what a copy received."""
    ti = get_current_context()["ti"]
    with open(os.environ["WITNESS"], "a") as file:
        file.write(json.dumps([ti.dag_id, ti.task_id, ti.map_index, shown(arguments)]) + "\n")


def shown(value):
    if isinstance(value, dict):
        return {str(name): shown(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return {"tuple": [shown(item) for item in value]}
    if not isinstance(value, str) and hasattr(value, "__len__"):
        return [shown(item) for item in value]
    return value


@task
def use(x=None, y=None, z=None):
    got(x=x, y=y, z=z)
    # Of copies' results plain lists: a lazy sequence that is returned fails in Airflow, for its form alone.
    return [shown(x), shown(y), shown(z)]


@task
def give(value):
    return value


@task
def judge(x):
    """Succeeds, fails, skips or returns nothing, as its argument says."""
    got(x=x)
    if x == "fail":
        raise ValueError(x)
    if x == "skip":
        raise AirflowSkipException(x)
    return None if x == "none" else x


@task
def total(values):
    got(values=values)
    return len(values)


def ruled(rule, name=None):
    return use.override(task_id=name or rule, trigger_rule=rule)


RULES = ["all_success", "all_failed", "all_done", "all_skipped", "one_success", "one_failed", "one_done",
         "none_failed", "none_failed_min_one_success", "none_skipped"]  # fmt: skip


def case(function, **settings):
    """Make a DAG of a function."""
    start_date = datetime(2024, 1, 1, tzinfo=timezone.utc)
    return dag(schedule=None, start_date=start_date, catchup=False, **settings)(function)()


def one_by_one(function):
    """Make a DAG whose copies run one after the other, where it matters which end is seen first."""
    return case(function, max_active_tasks=1)


@case
def over_a_list():
    use.expand(x=give([1, "two", None, [3], {"four": 4}]))


@case
def over_a_dict():
    use.expand(x=give({"a": 1, "b": [2]}))


@case
def over_a_product():
    use.expand(x=give([1, 2]), y=["a", "b"], z=give.override(task_id="third")({"k": 1}))


@case
def with_what_is_the_same_for_all():
    use.partial(y=give.override(task_id="same")("s"), z=3).expand(x=give([1, 2]))


@case
def templates_are_looked_for_only_in_the_file():
    use.partial(y="{{ 1 + 1 }}").expand(x=give(["{{ 2 + 2 }}"]), z=["{{ 3 + 3 }}"])


@case
def dicts_of_arguments():
    use.expand_kwargs(give([{"x": 1}, {"x": 2, "y": 3}, {}]))


@case
def dicts_in_the_file_and_of_a_task():
    use.partial(z=9).expand_kwargs([{"x": "{{ 1 + 1 }}"}, give({"x": "{{ 1 + 1 }}", "y": 5})])


@case
def no_dicts():
    use.expand_kwargs(give([{"x": 1}, 2]))


@case
def dicts_with_an_unknown_name():
    use.expand_kwargs(give([{"x": 1}, {"w": 2}]))


@case
def dicts_that_are_one_dict():
    use.expand_kwargs(give({"x": 1}))


@case
def nothing_to_map_over():
    made = use.expand(x=give([]))
    ruled("all_success")(made)
    ruled("none_failed")(made)
    ruled("all_done")(made)


@case
def a_product_with_nothing():
    use.expand(x=give([1, 2]), y=give.override(task_id="nothing")([]))


@case
def nothing_in_the_file_below_a_failure():
    judge.override(task_id="bad")("fail") >> use.override(task_id="none").expand(x=[])
    give(1) >> use.override(task_id="skipped").expand(x=[])


@case
def a_number():
    use.expand(x=give(7))


@case
def a_text():
    use.expand(x=give("abc"))


@case
def none():
    use.expand(x=give(None))


@case
def a_set_is_in_no_order():
    @task
    def gather():
        return {1, 2}

    use.expand(x=gather())


@case
def too_many():
    @task
    def many():
        return list(range(1025))

    use.expand(x=many())


@case
def below_what_was_skipped():
    up = judge("skip")
    use.expand(x=up)
    ruled("none_failed").expand(x=up)
    ruled("all_done").expand(x=up)


@case
def below_what_failed():
    up = judge("fail")
    use.expand(x=up)
    ruled("all_done").expand(x=up)


@case
def one_of_two_fails():
    use.expand(x=give([1, 2]), y=judge("fail"))


@case
def another_task_before_it_fails():
    judge("fail") >> use.expand(x=give([1, 2]))


@case
def another_task_before_it_is_skipped():
    judge("skip") >> use.expand(x=give([1, 2]))


@case
def one_success_is_enough():
    bad = judge("fail")
    made = ruled("one_success").expand(x=give([1, 2]))
    bad >> made


@case
def gathered():
    total(use.expand(x=give([3, 1, 2])))


@case
def gathered_of_few():
    made = judge.expand(x=["a", "none", "b", "skip"])
    total.override(trigger_rule="all_done")(made)


@case
def gathered_of_none():
    made = judge.expand(x=["none", "skip"])
    total.override(trigger_rule="all_done")(made)


@case
def over_copies():
    use.override(task_id="second").expand(x=use.expand(x=give([1, 2, 3])))


@case
def over_copies_that_gave_nothing():
    made = judge.expand(x=["a", "none", "b", "skip"])
    ruled("all_done", "second").expand(x=made)
    ruled("all_done", "with_another").expand(x=made, y=["c", "d"])


@case
def over_copies_that_all_gave_nothing():
    made = judge.expand(x=["none"])
    ruled("all_done", "second").expand(x=made)


@case
def over_copies_that_are_not_all_done():
    made = judge.expand(x=["a", "fail"])
    ruled("one_success", "second").expand(x=made)
    ruled("one_failed", "third").expand(x=made)


@case
def changed_by_functions():
    use.expand(x=give([1, 2, 3]).map(lambda it: it * 10).map(lambda it: str(it)))


@case
def a_function_that_skips():
    def odd(it):
        if it % 2 == 0:
            raise AirflowSkipException("even")
        return it

    made = use.expand(x=give([1, 2, 3]).map(odd))
    total.override(trigger_rule="none_failed")(made)


@case
def a_function_that_fails():
    use.expand(x=give([1, 0]).map(lambda it: 1 / it))


@case
def a_function_over_copies():
    use.override(task_id="second").expand(x=judge.expand(x=["a", "b"]).map(lambda it: it + "!"))


@case
def zipped():
    use.expand(x=give([1, 2, 3]).zip(give.override(task_id="other")(["a", "b"])))


@case
def zipped_and_filled():
    use.expand(x=give([1, 2, 3]).zip(give.override(task_id="other")(["a", "b"]), fillvalue="-"))


@case
def concatenated():
    use.expand(x=give([1, 2]).concat(give.override(task_id="other")([3]), judge.expand(x=["a", "b"])))


@case
def concatenated_dicts_of_arguments():
    more = give.override(task_id="other")([{"y": 2}])
    use.expand_kwargs(give([{"x": 1}]).concat(more).map(lambda it: {**it, "z": 0}))


@case
def other_operators():
    def shows(*arguments, **named):
        got(arguments=arguments, named=named)

    PythonOperator.partial(task_id="args", python_callable=shows).expand(op_args=give([[1], [2, 3]]))
    PythonOperator.partial(task_id="kwargs", python_callable=shows).expand(
        op_kwargs=give.override(task_id="dicts")([{"a": 1}, {"b": "{{ 1 + 1 }}"}])
    )
    shell = BashOperator.partial(task_id="shell", env={"A": "{{ 1 + 1 }}"}, append_env=True).expand(
        bash_command=give.override(task_id="commands")(["echo $A", "echo {{ ti.map_index }}"])
    )
    total(shell.output)


@case
def pulled_by_name():
    made = use.expand(x=[1, 2])

    @task
    def pull(ti=None):
        got(
            all=ti.xcom_pull(task_ids="use"),
            second=ti.xcom_pull(task_ids="use", map_indexes=1),
            some=ti.xcom_pull(task_ids="use", map_indexes=[1, 0]),
        )

    made >> pull()


@case
def rules_below_copies_that_fail():
    made = judge.expand(x=["a", "fail", "b"])
    for rule in RULES:
        ruled(rule)(1) << made


@case
def rules_below_copies_that_skip():
    made = judge.expand(x=["a", "skip", "b"])
    for rule in RULES:
        ruled(rule)(1) << made


@case
def rules_below_copies_that_all_skip():
    made = judge.expand(x=["skip", "skip"])
    for rule in RULES:
        ruled(rule)(1) << made


@one_by_one
def rules_below_copies_of_all_ends():
    made = judge.expand(x=["a", "skip", "fail"])
    for rule in RULES:
        ruled(rule)(1) << made


@case
def a_mapped_task_below_copies():
    made = judge.expand(x=["a", "fail"])
    made >> use.expand(x=give([1, 2]))
    made >> use.override(task_id="done", trigger_rule="all_done").expand(x=[1, 2])


@case
def a_group_over_the_file():
    @task_group
    def g(x):
        use.override(task_id="second")(judge(x))

    g.expand(x=["a", "fail", "skip", "b"])


@case
def a_group_over_a_result():
    @task_group
    def g(x, y):
        return use.override(task_id="second")(judge(x), y)

    total.override(trigger_rule="all_done")(g.partial(y="same").expand(x=give(["a", "fail", "b"])))


@case
def a_group_over_a_product():
    @task_group
    def g(x, y):
        use(x, y)

    g.expand(x=give([1, 2]), y=["a", "b"])


@case
def a_group_over_dicts():
    @task_group
    def g(x, y):
        use(x, y)

    g.expand_kwargs(give([{"x": 1, "y": 2}, {"x": 3, "y": "{{ 1 + 1 }}"}]))


@case
def a_group_over_dicts_that_lack_a_name():
    @task_group
    def g(x, y=5):
        use(x, y)

    g.expand_kwargs(give([{"x": 1, "y": 2}, {"x": 3}]))


@case
def a_group_over_nothing():
    @task_group
    def g(x):
        ruled("all_done", "second")(use(x))

    made = g.expand(x=give([]))
    made >> ruled("all_success", "after")(1)
    made >> ruled("all_done", "done")(1)


@case
def a_group_over_what_fails():
    @task_group
    def g(x):
        ruled("all_done", "second")(use(x))

    g.expand(x=judge("fail"))


@case
def a_group_with_a_task_from_outside():
    bad = judge.override(task_id="bad")("fail")
    good = give.override(task_id="good")(1)

    @task_group
    def g(x):
        first = use(x)
        second = use.override(task_id="second")(first, good)
        third = use.override(task_id="third")(first)
        first >> second
        bad >> third

    g.expand(x=give([1, 2]))


@case
def rules_inside_a_group():
    @task_group
    def g(x):
        made = judge(x)
        for rule in RULES:
            ruled(rule)(1) << made

    g.expand(x=["a", "fail", "skip"])


@case
def rules_inside_a_group_over_a_result():
    @task_group
    def g(x):
        made = judge(x)
        for rule in RULES:
            ruled(rule)(1) << made

    g.expand(x=give(["a", "fail", "skip"]))


@one_by_one
def two_inside_a_group():
    @task_group
    def g(x, y):
        one, two = judge.override(task_id="one")(x), judge.override(task_id="two")(y)
        for rule in RULES:
            [one, two] >> ruled(rule)(1)

    g.expand(x=["a", "fail", "skip"], y=["b", "fail", "skip"])


@case
def after_a_group():
    @task_group
    def g(x):
        return judge(x)

    made = g.expand(x=["a", "fail", "b"])
    for rule in RULES:
        made >> ruled(rule)(1)


@case
def a_group_after_a_group():
    @task_group
    def g(x):
        return judge(x)

    @task_group
    def h(x):
        use(x, made)

    made = g.expand(x=give(["a", "b"]))
    h.expand(x=[1, 2, 3])


@case
def over_a_groups_result():
    @task_group
    def g(x):
        return judge(x)

    use.expand(x=g.expand(x=["a", "b"]))


@case
def a_group_in_a_group():
    @task_group
    def inner(y):
        return use.override(task_id="deep")(judge(y))

    @task_group
    def outer(x):
        total(inner(x))

    outer.expand(x=give(["a", "fail"]))


@case
def a_branch_inside_a_group():
    @task.branch
    def choose(x):
        return "g.left" if x else "g.right"

    @task_group
    def g(x):
        choose(x) >> [ruled("all_success", "left")(1), ruled("all_success", "right")(1)]

    g.expand(x=[0, 1])


@case
def a_short_circuit_inside_a_group():
    @task.short_circuit
    def go_on(x):
        return bool(x)

    @task_group
    def g(x):
        go_on(x) >> ruled("all_success", "second")(1) >> ruled("all_success", "third")(1)

    g.expand(x=[0, 1])


@case
def a_branch_to_mapped_tasks():
    @task.branch
    def choose():
        return "left"

    source = give([1, 2])
    left, right = (use.override(task_id=name).expand(x=source) for name in ("left", "right"))
    choose() >> [left, right]
    right >> ruled("none_failed", "after")(1)
