"""What is done with a trained model, as Kubeflow Pipelines components."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("predict"), install_kfp_package=False)
def predict(
    ensemble_model: Input[Model],
    new_products: Input[Dataset],
    new_images: Input[Dataset],
    predictions: Output[Dataset],
    predict_metrics: Output[Metrics],
    predict_report: Output[HTML],
):
    """Predicts the products to categorize with a model package.

    Args:
        ensemble_model: the model package.
        new_products: the product table; it may be empty.
        new_images: the image store.
        predictions: codes in the form of the labels file, in detail, and every classifier's probabilities.
        predict_metrics: counts, and how sure the model is.
        predict_report: classes, and the products that it is least sure of.
    """
    from components.core.stage import Result, paths_of, run_stage
    from components.lifecycle.run import run_predict

    inputs = paths_of(ensemble_model=ensemble_model, new_products=new_products, new_images=new_images)
    outputs = paths_of(predictions=predictions)

    def work() -> Result:
        return run_predict(**inputs, **outputs)

    run_stage("predict", work, inputs=inputs, outputs=outputs, metrics=predict_metrics, report=predict_report)
